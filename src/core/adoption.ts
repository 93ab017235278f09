/**
 * What to do with the process that an identity file names, when a new supervisor finds the file: go on with it, end it,
 * or refuse to touch it. A process is the one meant only when boot, pid, start time and invocation id all agree.
 */
import type { Identity } from "./identity.ts";

/** What is known of the process that has the identity's pid now. */
export interface Sighting {
  readonly bootId: string | undefined;
  /** The kernel's start time of the pid, when a live process has it. */
  readonly startTimeTicks: number | undefined;
  /** Its INVOCATION_ID; `undefined` when its environment cannot be read or has none. */
  readonly invocationId: string | undefined;
  /** It is in the cgroup that the identity names: enough where the process has overwritten its environment (setproctitle). */
  readonly inCgroup: boolean;
}

export type Adoption =
  /** `outdated`: the config would start it otherwise now; it goes on as it was started until a person restarts it. */
  | { readonly kind: "adopt"; readonly outdated: boolean }
  /** Its main process is `gone`, or lives and is to be ended like any leftover. */
  | { readonly kind: "end"; readonly reason: string; readonly gone: boolean }
  /** It may be the bot and it may not be: a second copy must not be started beside it, nor a stranger killed. */
  | { readonly kind: "doubt"; readonly reason: string; readonly unseen?: true };

export interface AdoptionTerms {
  /** The config's word on processes that outlived their supervisor. */
  readonly orphans: "adopt" | "stop";
  /** The account that the config gives it now. */
  readonly account: string;
  /** It runs as the user that the config gives it now. */
  readonly sameUser: boolean;
  /** Fingerprint of what the config would start now; `undefined` when that cannot be told. */
  readonly definition: string | undefined;
  /** It was given the sockets that it has in the config now, as far as its environment tells. */
  readonly sameSockets: boolean;
  /** The bot had been asked to stop: it forbade itself new orders, and may be half gone. */
  readonly wasStopping: boolean;
}

export const GONE = { kind: "end", reason: "its main process is gone", gone: true } as const satisfies Adoption;

/** What can be seen of the place where a start was made. */
export interface Outlook {
  readonly bootId: string | undefined;
  /** Whatever lives there has a pid here: then pids and marks decide. */
  readonly sees: boolean;
  /** What the kernel counts in the cgroup that the identity names; `unknown` also where its path may mean another one here. */
  readonly cgroup: "inhabited" | "empty" | "unknown";
}

/**
 * The word on a start that was made, on this boot, in a PID namespace which is not to be seen from here, as a container that
 * has the same state folder: that nobody is found then proves nothing. `undefined`: pids and marks decide.
 */
export function judgeUnseen({ place }: Identity, outlook: Outlook): Exclude<Adoption, { kind: "adopt" }> | undefined {
  if (place === undefined || place.bootId !== outlook.bootId || outlook.sees) return undefined;
  if (outlook.cgroup === "inhabited")
    return { kind: "end", reason: "it is in another PID namespace, where it cannot be supervised", gone: false };
  // The first process of a namespace does not end without all others, and this supervisor has the state folder's lock by now.
  if (outlook.cgroup === "empty" || place.first) return GONE;
  return {
    kind: "doubt",
    reason: `its last start was made in PID namespace ${place.pids}, of which nothing can be seen from here: it may be alive there`,
    unseen: true,
  };
}

/** Whether nobody has the identity's pid who could be that process: then nothing else about it need be known. */
export function isMainGone(identity: Identity, seen: Pick<Sighting, "bootId" | "startTimeTicks">): boolean {
  return identity.bootId !== seen.bootId || identity.startTimeTicks !== seen.startTimeTicks;
}

export function judgeAdoption(identity: Identity, seen: Sighting, terms: AdoptionTerms): Adoption {
  if (isMainGone(identity, seen)) return GONE;
  const marked = seen.invocationId === identity.invocationId || (seen.invocationId === undefined && seen.inCgroup);
  if (!marked)
    return {
      kind: "doubt",
      reason: `pid ${identity.pid} has the bot's start time, but its INVOCATION_ID is ${seen.invocationId ?? "not to be read"}`,
    };
  if (terms.orphans === "stop") return { kind: "end", reason: "orphans is stop", gone: false };
  if (terms.wasStopping) return { kind: "end", reason: "it was being stopped", gone: false };
  // Under another account it would count as another bot, and as another user it could not be heard.
  if (identity.account !== terms.account)
    return {
      kind: "end",
      reason: `its account in the config was ${identity.account} and is ${terms.account}`,
      gone: false,
    };
  if (!terms.sameSockets)
    return { kind: "end", reason: "its sockets were in another runtimeDir, where nobody hears it", gone: false };
  const outdated = identity.definition !== terms.definition;
  if (outdated && !terms.sameUser) return { kind: "end", reason: "its user in the config has changed", gone: false };
  return { kind: "adopt", outdated };
}
