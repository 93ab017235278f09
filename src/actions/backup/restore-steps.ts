/** What every restore goes through and says, whatever it restores. */
import type { BackupLine } from "../../core/backup-job.ts";
import type { RestoreJob } from "../../core/restore-job.ts";
import type { RestoreJournal } from "../../core/restore-journal.ts";
import type { Clock } from "../../platform/clock.ts";
import { failed, Failure } from "./failure.ts";
import type { Reading } from "./reading.ts";
import type { Keeper } from "./restore-bots.ts";
import { writeJournal } from "./restore-journal.ts";

export interface RestoreIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** A step that has just been done; tests end the process there. */
  readonly onStep?: (step: RestoreStep) => void;
}

export const RESTORE_STEPS = [
  "locked",
  "journaled",
  "unpacked",
  "stopped",
  "swapping",
  "moved",
  "swapped",
  "checked",
  "done",
] as const;
type RestoreStep = (typeof RESTORE_STEPS)[number];

/** One restore that is under way. */
export interface RestoreSteps {
  readonly job: RestoreJob;
  readonly io: RestoreIo;
  readonly reading: Reading;
  readonly journal: RestoreJournal;
  readonly startedMs: number;
}

/** Those that are up, noted first: whoever ends a restore that is killed here starts them again. */
export async function stopBots(
  { job, io, journal }: Pick<RestoreSteps, "job" | "io" | "journal">,
  keeper: Keeper,
  more: Partial<RestoreJournal> = {},
): Promise<void> {
  if (keeper.up.length > 0) say(io, `stopping ${keeper.up.join(", ")}`);
  writeJournal(job.stateDir, { ...journal, stopped: [...keeper.up], ...more });
  await keeper.stop();
  io.onStep?.("stopped");
}

export function tellRestored(
  { journal, reading, io, job, startedMs }: RestoreSteps,
  aside: readonly string[],
  troubles: readonly string[],
): void {
  const { id, backup } = journal;
  const durationMs = Math.round(io.clock.monotonicMs() - startedMs);
  const common = { id, backup, rawBytes: reading.rawBytes, durationMs };
  io.write({ kind: "restored", ...common, aside: [...aside], marked: job.bots, troubles: [...troubles] });
}

export function tellFailure(error: unknown, troubles: readonly string[], io: RestoreIo): number {
  const failure = Failure.from(error);
  const reason = [failure.message, ...troubles].join("; ");
  return failed(new Failure(failure.stage, reason, { cause: error }), io.write);
}

export function say(io: Pick<RestoreIo, "write">, text: string, touching = false): void {
  io.write({ kind: "step", text, touching });
}
