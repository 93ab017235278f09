/** Where starts are made, as an identity keeps it, and what can be seen from here of one that was made somewhere else. */
import { existsSync } from "node:fs";
import type { Outlook } from "../../core/adoption.ts";
import type { Identity, StartPlace } from "../../core/identity.ts";
import { isUnpopulated } from "../../platform/cgroup.ts";
import { pidNamespace, seesInto, topOfCgroups } from "../../platform/pid-namespace.ts";
import { bootId } from "../../platform/proc.ts";

/** What tells a start from any other. */
export function newInvocationId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

/** By the folder that cgroups are made in; looked up once, as 100 bots that are started together ask for it 100 times. */
const knownTops = new Map<string, number>();

/** For a start into a cgroup of ours below `base`, or into none; `undefined` where /proc does not tell. */
export function placeHere(base: string | undefined): StartPlace | undefined {
  const [boot, pids] = [bootId(), pidNamespace()];
  if (boot === undefined || pids === "") return undefined;
  return { bootId: boot, pids, first: process.pid === 1, cgroups: base === undefined ? null : topOf(base) };
}

/** Should another tree be mounted there meanwhile, the next supervisor finds another top, and the place tells it nothing. */
function topOf(base: string): number | null {
  const top = knownTops.get(base) ?? topOfCgroups(base);
  if (top !== undefined) knownTops.set(base, top);
  return top ?? null;
}

/** What of a start can be seen from here. Throws when processes cannot be listed. */
export function outlookOn({ place, cgroup }: Identity): Outlook {
  const sees = place === undefined || place.bootId !== bootId() || seesInto(place.pids);
  return { bootId: bootId(), sees, cgroup: sees ? "unknown" : lifeIn(cgroup, place?.cgroups ?? null) };
}

/** A path says something only in the tree of cgroups that it was noted in. */
function lifeIn(cgroup: string | null, top: number | null): Outlook["cgroup"] {
  try {
    if (cgroup === null || top === null || topOfCgroups(cgroup) !== top) return "unknown";
    return !existsSync(cgroup) || isUnpopulated(cgroup) ? "empty" : "inhabited";
  } catch {
    return "unknown";
  }
}
