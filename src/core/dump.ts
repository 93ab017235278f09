/**
 * Crash dumps: what one is called, what its manifest says, when one is made, and which are kept. A dump is a tar archive
 * packed with zstd whose first entry is the manifest, so that `tar --zstd -xf` reads it without us.
 */
import type { ExitInfo } from "./lifecycle-types.ts";

export const DUMP_VERSION = 1;
/** Longest entry, and all entries together, bytes; what is longer is cut, and says so. */
export const MAX_ENTRY_BYTES = 4 * 1_048_576;
export const MAX_DUMP_BYTES = 20 * 1_048_576;
/** The same death is dumped in full once in this time, and without a look at the living process once in that, ms. */
const SAME_DEATH_MS = 600_000;
const LIGHT_DUMP_MS = 60_000;

/** Whether this end is one that a dump is made of: a bot that was asked to stop, or ended well, has nothing to tell. */
export function isDeath({ cause, code, signal }: ExitInfo): boolean {
  if (cause === "stopped" || cause === "spawnFailed") return false;
  return cause !== "exited" || code !== 0 || signal !== null;
}

/** What two deaths of the same kind have in common: cause, code, signal and the words of the reason without their numbers. */
export function deathSignature({
  cause,
  code,
  signal,
  detail,
}: Pick<ExitInfo, "cause" | "code" | "signal" | "detail">): string {
  const words = detail.replace(/\d+(?:\.\d+)?/g, "#");
  return hash32([cause, code ?? "", signal ?? "", words].join("|"));
}

/** When which death was dumped last in full, and at all, and how often it came back since without a dump. */
export interface Dumped {
  readonly fullAtMs: number;
  readonly atMs: number;
  readonly repeats: number;
}

/** `light`: of what is left of it alone; a process that hangs is not read, nor asked for its stack, and nothing waits. */
export type DumpWeight = "full" | "light";

/** How a death is to be dumped now, and what is to be remembered of it. `last`: of the same signature. */
export function judgeDeath(
  last: Dumped | undefined,
  atMs: number,
): { readonly dump: DumpWeight | undefined; readonly next: Dumped } {
  if (last === undefined || atMs - last.fullAtMs >= SAME_DEATH_MS)
    return { dump: "full", next: { fullAtMs: atMs, atMs, repeats: 0 } };
  if (atMs - last.atMs >= LIGHT_DUMP_MS) return { dump: "light", next: { ...last, atMs, repeats: 0 } };
  return { dump: undefined, next: { ...last, repeats: last.repeats + 1 } };
}

/** What a file name says; names sort by bot and time. */
export interface DumpName {
  readonly bot: string;
  /** Unix time, ms; to the second. */
  readonly at: number;
  readonly reason: string;
  readonly signature: string;
  readonly id: string;
}

/** For example `dump-momentum-20260131T120000Z-heartbeat-1a2b3c4d-0f9e8d.tar.zst`. */
export function dumpFileName({ bot, at, reason, signature, id }: DumpName, stamp: (ms: number) => string): string {
  const time = stamp(at).replace(/[-:]|\.\d+/g, "");
  return `dump-${bot}-${time}-${reason.replace(/[^A-Za-z0-9]+/g, "_").slice(0, 40)}-${signature}-${id}.tar.zst`;
}

const FILE_NAME =
  /^dump-([a-z][a-z0-9-]*)-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([A-Za-z0-9_]+)-([0-9a-f]{8})-([0-9a-f]{6})\.tar\.zst$/;

/** `undefined` for a name that is none of ours; `parse` turns RFC 3339 into unix ms. */
export function parseDumpName(name: string, parse: (text: string) => number): DumpName | undefined {
  const [, bot, y, mo, d, h, mi, s, reason, signature, id] = FILE_NAME.exec(name) ?? [];
  if (bot === undefined || reason === undefined || signature === undefined || id === undefined) return undefined;
  return { bot, at: parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`), reason, signature, id };
}

/** Free bytes below which no dump is made: the larger of `minFree` and of that share of the disk. */
export function roomWanted(
  policy: { readonly minFree: number; readonly minFreeRatio: number },
  diskBytes: number,
): number {
  return Math.max(policy.minFree, Math.ceil(policy.minFreeRatio * diskBytes));
}

export interface DumpPolicy {
  /** Dumps of one bot. */
  readonly keep: number;
  /** Bytes of all dumps of one bot. */
  readonly maxTotal: number;
  /** ms. */
  readonly maxAge: number;
}

export interface StoredDump {
  readonly name: DumpName;
  readonly bytes: number;
}

export interface DumpVerdict<D extends StoredDump> {
  readonly dump: D;
  /** Why it stays or goes. */
  readonly why: string;
  readonly remove: boolean;
}

/**
 * Which dumps of one bot go: those that are too old, then the oldest beyond number and size. The first and the latest of each
 * kind of death are the last to go, and the newest of all never does.
 */
export function chooseDumps<D extends StoredDump>(
  dumps: readonly D[],
  policy: DumpPolicy,
  now: number,
): readonly DumpVerdict<D>[] {
  const ordered = dumps.toSorted((a, b) => a.name.at - b.name.at || (a.name.id < b.name.id ? -1 : 1));
  const newest = ordered.at(-1);
  const telling = new Set<D>();
  for (const [, same] of Map.groupBy(ordered, ({ name }) => name.signature))
    for (const each of [same.at(0), same.at(-1)]) if (each !== undefined) telling.add(each);
  const gone = new Map<D, string>();
  for (const dump of ordered)
    if (dump !== newest && now - dump.name.at > policy.maxAge) gone.set(dump, "older than maxAge");
  // Whoever repeats what others tell goes first; each time the oldest.
  const order = [...ordered.filter((dump) => !telling.has(dump)), ...ordered.filter((dump) => telling.has(dump))];
  let left = ordered.length - gone.size;
  let bytes = ordered.reduce((sum, dump) => sum + (gone.has(dump) ? 0 : dump.bytes), 0);
  for (const dump of order) {
    if (dump === newest || gone.has(dump)) continue;
    const why = left > policy.keep ? "more than keep" : bytes > policy.maxTotal ? "more than maxTotal" : undefined;
    if (why === undefined) break;
    gone.set(dump, why);
    left -= 1;
    bytes -= dump.bytes;
  }
  return ordered.map((dump) => {
    const why = gone.get(dump);
    if (why !== undefined) return { dump, why, remove: true };
    if (dump === newest) return { dump, why: "the newest", remove: false };
    return { dump, why: telling.has(dump) ? "the first or latest of its kind" : "within the limits", remove: false };
  });
}

/** FNV-1a, 32 bits, as 8 hex digits: it tells apart, and protects nothing. */
function hash32(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}
