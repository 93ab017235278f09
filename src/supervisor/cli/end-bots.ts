/**
 * `supervisor __end-bots`: clears up after the daemon (ExecStopPost= of systemd.service(5)). It makes the unit's cgroup fit for
 * the next start, and if the unit was asked to stop it ends the bots that a dead daemon left alive. After a crash they
 * stay: the next start adopts them. A worker that closes positions is never touched.
 */
import { join } from "node:path";
import { sleep, systemClock, type Clock } from "../../platform/clock.ts";
import { signalProcess } from "../../platform/process-handle.ts";
import { listTree } from "../../platform/tree.ts";
import { releaseControllers, unitCgroup } from "../../platform/release-controllers.ts";
import { doubtfulIn, doubtText, killAll, livingIn, livingText, type Fence } from "../runtime/fence.ts";
import { takeLock } from "../runtime/installation.ts";
import { marksOfRemains, surveyBots, type Remains } from "../runtime/survey.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Time that a bot gets between SIGTERM and SIGKILL, ms; well below TimeoutStopSec= of the unit, which bounds us. */
const GRACE_MS = 5_000;
const POLL_MS = 50;
/** Longest wait for systemctl's answer, ms. */
const ASK_MS = 5_000;

interface Options extends PlaceOptions {
  readonly unit?: string;
}

export const command: Verb = {
  name: "__end-bots",
  summary: "Ends what a dead daemon left, if its unit was asked to stop; started by systemd.",
  hidden: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--unit <name>", "only if systemd has a job to stop or restart this unit")
      .action((options: Options) => endBots(options, io));
  },
};

async function endBots(options: Options, io: CliIo): Promise<void> {
  const unit = unitCgroup();
  if (unit !== undefined) for (const trouble of releaseControllers(unit)) io.err(trouble);
  if (options.unit !== undefined && !stopWasAsked(askJobs(options.unit))) return;
  const { dirs } = await findPlace(options, io);
  // Proves that no daemon has these bots, and keeps one from starting meanwhile.
  const lock = takeLock(join(dirs.stateDir, "supervisor.lock"));
  try {
    await Promise.all(surveyBots(dirs).map((remains) => endOne(remains, systemClock, io)));
  } finally {
    lock.release();
  }
}

/** What `systemctl list-jobs` prints of the unit; empty when it cannot be asked, and nobody is ended on a guess. */
function askJobs(unit: string): string {
  try {
    const cmd = ["systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain", "--", unit];
    return Bun.spawnSync({ cmd, stdio: ["ignore", "pipe", "ignore"], timeout: ASK_MS }).stdout.toString();
  } catch {
    return "";
  }
}

/** Whether a line of `systemctl list-jobs` (JOB UNIT TYPE STATE) is a stop or a restart. */
export function stopWasAsked(jobs: string): boolean {
  return jobs.split("\n").some((line) => ["stop", "restart"].includes(line.trim().split(/\s+/)[2] ?? ""));
}

async function endOne({ name, files, identity }: Remains, clock: Clock, io: CliIo): Promise<void> {
  const found = marksOfRemains(files, identity);
  // Once the main process has ended, its session tells of nobody any more.
  const marks = { ...found, known: listTree(found) };
  const fence: Fence = [marks];
  const tell = (pids: readonly number[]): void => {
    const text = doubtText(pids, fence);
    if (text !== undefined) io.err(`bot ${name}: ${text}`);
  };
  const living = livingIn(fence);
  if (living.length === 0) return tell(doubtfulIn(fence));
  io.err(`the daemon is dead and was to stop: ending ${livingText(living, fence)} of bot ${name}`);
  const { root } = marks;
  if (root !== undefined && living.includes(root.pid)) {
    signalProcess(root, "SIGTERM");
    signalProcess(root, "SIGCONT");
    await untilGone(fence, clock);
  }
  const survivors = await killAll(fence, clock);
  if (survivors.length === 0) return;
  io.err(`cannot end ${livingText(survivors, fence)} of bot ${name}`);
  tell(survivors);
}

async function untilGone(fence: Fence, clock: Clock): Promise<void> {
  const endMs = clock.monotonicMs() + GRACE_MS;
  // Safe: a wait between two looks.
  // oxlint-disable-next-line no-await-in-loop
  while (livingIn(fence).length > 0 && clock.monotonicMs() < endMs) await sleep(clock, POLL_MS);
}
