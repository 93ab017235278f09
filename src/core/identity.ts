/** The identity file `<stateDir>/bots/NAME/identity.json`: which process is, or last was, the bot. */
import * as z from "zod";
import { later } from "./later.ts";
import { versionOf } from "./file-version.ts";
import { hasOnly, isCount, isRecord, isWhole } from "./plain-check.ts";

const IDENTITY_VERSION = 1;

/** Where the start was made, for a supervisor that may be somewhere else and does not see its processes (pid_namespaces(7)). */
const placeSchema = later(() =>
  z.object({
    /** Of the identity's process too; kept apart as there is a start before there is a process. */
    bootId: z.string(),
    /** PID namespace, as `pid:[4026531836]`. */
    pids: z.string(),
    /** The supervisor was the first process of the namespace: the kernel ends all others with it. */
    first: z.boolean(),
    /** Inode of the topmost cgroup in view: where it is the same, the path of `cgroup` means the same. */
    cgroups: z.number().nullable(),
  }),
);
export type StartPlace = z.output<typeof placeSchema>;

export const identitySchema = later(() =>
  z.object({
    version: z.literal(IDENTITY_VERSION),
    account: z.string(),
    /** Kernel boot id: after a reboot no process of the file can be alive. */
    bootId: z.string(),
    pid: z.int(),
    startTimeTicks: z.number(),
    invocationId: z.string(),
    generation: z.int().min(0),
    /** The bot has been ready since this start; one that had not been goes on starting when it is adopted. */
    ready: z.boolean(),
    /** The heartbeat timeout that the bot has asked for since this start (`WATCHDOG_USEC=`), ms; absent while it has not. */
    watchdogMs: z.int().min(0).optional(),
    /** Fingerprint of the command, folder, user and environment that it was started with. */
    definition: z.string(),
    cgroup: z.string().nullable(),
    /** Automatic restarts so far, so that the count survives the daemon. */
    restarts: z.int().min(0),
    /** The same by reason; absent in a file of a release that kept none. */
    restartsBy: z.record(z.string(), z.int().min(0)).optional(),
    /** Absent in a file of a release that did not say, and once everything of the start is proven dead. */
    place: placeSchema.optional(),
  }),
);
export type Identity = z.output<typeof identitySchema>;

/**
 * What a start that has no process yet says of one: an identity with it is nobody's to adopt, and tells by account,
 * `invocationId` and cgroup whom the start may have made. No boot has this id, so that pid 0 is never looked for.
 */
export const NO_PROCESS = { bootId: "unknown", pid: 0, startTimeTicks: 0 } as const;

/** What an identity says once everything of its start is proven dead: its pid may be anybody's by now, and so may the session of that number. */
export function withoutProcess(identity: Identity): Identity {
  return { ...identity, ...NO_PROCESS, place: undefined };
}

export type IdentityReading =
  | { readonly kind: "absent" }
  | { readonly kind: "known"; readonly identity: Identity }
  /** Something is there that says nothing: the bot's processes are told by their marks alone. */
  | { readonly kind: "damaged"; readonly reason: string }
  /** A newer release wrote it; this one neither understands nor replaces it. */
  | { readonly kind: "newer"; readonly version: number };

const TEXTS = ["account", "bootId", "invocationId", "definition"] as const;
const COUNTS = ["generation", "restarts"] as const;
const OTHERS = ["version", "pid", "startTimeTicks", "ready", "watchdogMs", "cgroup", "restartsBy", "place"] as const;
const KEYS: ReadonlySet<string> = new Set([...TEXTS, ...COUNTS, ...OTHERS]);

function isPlainIdentity(value: unknown): value is Identity {
  if (!isRecord(value) || !hasOnly(value, KEYS)) return false;
  const { version, pid, startTimeTicks, ready, watchdogMs, cgroup, restartsBy, place } = value;
  if (version !== IDENTITY_VERSION || !isWhole(pid) || !Number.isFinite(startTimeTicks)) return false;
  if (typeof ready !== "boolean" || (cgroup !== null && typeof cgroup !== "string")) return false;
  if (restartsBy !== undefined && !(isRecord(restartsBy) && Object.values(restartsBy).every(isCount))) return false;
  if (place !== undefined && !isPlainPlace(place)) return false;
  if (watchdogMs !== undefined && !isCount(watchdogMs)) return false;
  return TEXTS.every((key) => typeof value[key] === "string") && COUNTS.every((key) => isCount(value[key]));
}

const PLACE_KEYS: ReadonlySet<string> = new Set(["bootId", "pids", "first", "cgroups"]);

function isPlainPlace(value: unknown): value is StartPlace {
  if (!isRecord(value) || !hasOnly(value, PLACE_KEYS)) return false;
  const { bootId, pids, first, cgroups } = value;
  const isText = typeof bootId === "string" && typeof pids === "string";
  return isText && typeof first === "boolean" && (cgroups === null || Number.isFinite(cgroups));
}

/** Reads an identity file's text; `undefined` is a file that does not exist. Never throws. */
export function readIdentity(text: string | undefined): IdentityReading {
  if (text === undefined) return { kind: "absent" };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: "damaged", reason: "it is not JSON" };
  }
  if (isPlainIdentity(parsed)) return { kind: "known", identity: parsed };
  const result = identitySchema.safeParse(parsed);
  if (result.success) return { kind: "known", identity: result.data };
  const version = versionOf(parsed);
  if (version > IDENTITY_VERSION) return { kind: "newer", version };
  return { kind: "damaged", reason: z.prettifyError(result.error) };
}

/** Whether the next supervisor, which reads of a bot's identity that it has `accountOnDisk`, knows that it may find it on `account`. */
export function isKnownOn(accountOnDisk: string | undefined, account: string): boolean {
  return accountOnDisk === account;
}
