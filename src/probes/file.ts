/**
 * `file`: a file was written recently enough.
 *
 * Time that decides is monotonic: the age is the time since a change of the file was last seen, plus the age it had
 * when it was first seen. Only that first age compares wall clock and mtime, so a clock step restarts no bot.
 */
import { resolve } from "node:path";
import * as z from "zod";
import { later } from "../core/later.ts";
import { formatDuration } from "../core/duration.ts";
import { duration } from "../core/quantities.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { common, defineProbe, type Probe, type ProbeContext } from "./contract.ts";
import { withDeadline } from "./deadline.ts";
import { errorCode } from "./network.ts";

/** An mtime this far ahead of the clock is a clock step, ms; below it is the skew of a network file system. */
const FUTURE_SLACK_MS = 2_000;

export const file = defineProbe({
  kind: "file",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("file").describe("A file was written recently enough."),
      path: z.string().min(1).describe("The file; a relative path starts at the folder of the config file."),
      maxAge: duration().describe("The longest time since the file was last written."),
    }),
  ),
  create: (config, context) => watchFile(resolve(context.cwd, config.path), config, context),
});

/** The file as last seen. */
interface Sighting {
  readonly mtimeMs: number;
  /** Monotonic ms of the look that found this mtime. */
  readonly seenAtMs: number;
  /** Age at that look, ms; `undefined` when the mtime lies in the future. */
  readonly ageMs: number | undefined;
}

function watchFile(path: string, config: { timeout: number; maxAge: number }, context: ProbeContext): Probe {
  const { clock } = context;
  let last: Sighting | undefined;
  let lookedAtMs = context.armedAtMs();

  const look = async (): Promise<ProbeResult> => {
    const found = await readMtime(path);
    const nowMs = clock.monotonicMs();
    const youngMs = nowMs - context.armedAtMs();
    if (found.kind === "unreadable") return { kind: "unknown", reason: `cannot read ${path}: ${found.reason}` };
    if (found.kind === "absent")
      return last === undefined && youngMs < config.maxAge
        ? { kind: "unknown", reason: `${path} does not exist yet; the bot started ${seconds(youngMs)} ago` }
        : { kind: "failure", reason: `${path} does not exist` };
    const wallAgeMs = clock.wallTime().getTime() - found.mtimeMs;
    if (last?.mtimeMs !== found.mtimeMs)
      last = { mtimeMs: found.mtimeMs, seenAtMs: nowMs, ageMs: ageAtSight(wallAgeMs, last && nowMs - lookedAtMs) };
    lookedAtMs = nowMs;
    return judge(path, config.maxAge, last, nowMs, youngMs);
  };

  return {
    run: (signal) => withDeadline({ clock, timeoutMs: config.timeout, signal, late: "unknown" }, look),
  };
}

/** Age at the look that found a new mtime. A file that changed since the last look is no older than that look. */
function ageAtSight(wallAgeMs: number, sinceLookMs: number | undefined): number | undefined {
  if (sinceLookMs !== undefined) return Math.min(Math.max(wallAgeMs, 0), sinceLookMs);
  return wallAgeMs < -FUTURE_SLACK_MS ? undefined : Math.max(wallAgeMs, 0);
}

function judge(path: string, maxAgeMs: number, last: Sighting, nowMs: number, youngMs: number): ProbeResult {
  const unchangedMs = nowMs - last.seenAtMs;
  const ageMs = (last.ageMs ?? 0) + unchangedMs;
  const old = `${path} was last written ${seconds(ageMs)} ago (maxAge ${formatDuration(maxAgeMs)})`;
  // A file left by an earlier run of the bot: this run has `maxAge` from its start to write it first.
  if (ageMs > maxAgeMs && unchangedMs <= maxAgeMs && youngMs < maxAgeMs)
    return { kind: "unknown", reason: `${old}, before the bot started` };
  if (ageMs > maxAgeMs) return { kind: "failure", reason: old };
  if (last.ageMs === undefined) return { kind: "unknown", reason: `${path} was written in the future: clock step?` };
  return { kind: "success" };
}

type Found =
  | { readonly kind: "found"; readonly mtimeMs: number }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly reason: string };

async function readMtime(path: string): Promise<Found> {
  try {
    // Only here: the import costs each start of the daemon a third of a millisecond.
    const { stat } = await import("node:fs/promises");
    return { kind: "found", mtimeMs: (await stat(path)).mtimeMs };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { kind: "absent" };
    return { kind: "unreadable", reason: error instanceof Error ? error.message : String(error) };
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}
