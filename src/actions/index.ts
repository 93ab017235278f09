/** The action registry and the worker's entry, `supervisor __action NAME`. To add an action: write its file and add a line to `actions`. */
import { writeSync } from "node:fs";
import * as z from "zod";
import { CLOSE_EXIT } from "../core/close-job.ts";
import { BEAT_VARIABLE } from "../core/hang.ts";
import { systemClock } from "../platform/clock.ts";
import type { Action } from "./contract.ts";

// A worker reads one job: the code that zod would make for each schema costs more than that one reading.
z.config({ jitless: true });

/** Loaded only when run: their libraries are heavy. */
const actions = new Map<string, () => Promise<Action>>([
  ["close-positions", async () => (await import("./close-positions.ts")).closePositionsAction],
  ["watch-account", async () => (await import("./watch-account.ts")).watchAccountAction],
  ["preflight", async () => (await import("./preflight.ts")).preflightAction],
  ["backup", async () => (await import("./backup/make.ts")).backupAction],
  ["verify-backups", async () => (await import("./backup/check.ts")).verifyAction],
  ["prune-backups", async () => (await import("./backup/prune.ts")).pruneAction],
  ["restore", async () => (await import("./backup/restore.ts")).restoreAction],
  ["check-share", async () => (await import("./backup/check-database.ts")).checkShareAction],
  ["settle-restore", async () => (await import("./backup/pg-settle.ts")).settleAction],
  ["archive-wal", async () => (await import("./backup/archive-wal.ts")).walAction],
  ["export-backup", async () => (await import("./backup/export.ts")).exportAction],
  ["remote-backups", async () => (await import("./backup/copies.ts")).remoteAction],
  ["drill", async () => (await import("./backup/drill.ts")).drillAction],
  ["capture-dump", async () => (await import("./dump/capture.ts")).captureAction],
  ["pack-dump", async () => (await import("./dump/pack.ts")).packAction],
  ["rotate-log", async () => (await import("./rotate-log.ts")).rotateLogAction],
]);

/** Descriptor on which the worker answers. */
const RESULT_FD = 3;
/** A job is some hundred bytes of settings and secrets. */
const MAX_JOB_BYTES = 1_048_576;
/** Contract's exit code of a wrong use. */
const EXIT_USAGE = 2;
/** Tries of one write to a pipe that is full; with 10 ms each, a reader that sleeps costs at most a second. */
const MAX_WRITE_TRIES = 100;
const WRITE_WAIT_MS = 10;

/**
 * Runs an action as the main deed of this process and returns the exit code.
 * The job is one JSON line on standard input, answers are NDJSON on descriptor 3. Never throws.
 */
export async function runAction(name: string): Promise<number> {
  const load = actions.get(name);
  if (load === undefined)
    return complain(EXIT_USAGE, `cannot run action ${name}: known are ${[...actions.keys()].join(", ")}`);
  outliveTheDaemon();
  const stopBeating = beat();
  try {
    const action = await load();
    const job = action.jobSchema.safeParse(JSON.parse(await readJobLine()));
    if (!job.success) return complain(CLOSE_EXIT.internal, `cannot run action ${name}: ${z.prettifyError(job.error)}`);
    return await action.run(job.data, { write: writeLine, clock: systemClock });
  } catch (error) {
    // Not the error's own text when it is JSON's: that may quote the job, which holds secrets.
    const why = error instanceof SyntaxError ? "the job is not one line of JSON" : describe(error);
    return complain(CLOSE_EXIT.internal, `cannot run action ${name}: ${why}`);
  } finally {
    stopBeating();
  }
}

/**
 * Says as often as it is asked to that the loop turns, by a line with nothing in it: whoever reads lines sees none, and who is there to
 * miss it does (hang-watch.ts). The returned function ends it.
 */
function beat(): () => void {
  const everyMs = Number(process.env[BEAT_VARIABLE]);
  if (!(everyMs > 0)) return () => {};
  const next = (): void => {
    try {
      writeSync(RESULT_FD, "\n");
    } catch {
      // Nobody is there, or does not read: that is no trouble of the deed.
    }
    cancel = systemClock.after(everyMs, next);
  };
  let cancel = systemClock.after(everyMs, next);
  return () => cancel();
}

/**
 * The daemon that started us may die, and its terminal and service with it: what we do is more urgent than its end. So
 * SIGHUP and SIGTERM change nothing: the round that runs is finished and the close goes on to its own deadline, since a
 * half-closed account is the one state worse than both ends. Who must stop it uses SIGKILL; the journal lets the next run go on.
 */
function outliveTheDaemon(): void {
  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT", "SIGPIPE"] as const) process.on(signal, () => undefined);
  // Without a listener a broken pipe of stdout or stderr would be an uncaught error.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
}

async function readJobLine(): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of Bun.stdin.stream()) {
    bytes += chunk.byteLength;
    if (bytes > MAX_JOB_BYTES) throw new Error(`the job is larger than ${MAX_JOB_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
  return text;
}

/** A reader that died (EPIPE, ECONNRESET), was never there (EBADF) or does not read (EAGAIN) must not stop the deed: the line is dropped. */
function writeLine(line: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  let tries = 0;
  for (let at = 0; at < bytes.length && tries < MAX_WRITE_TRIES;) {
    try {
      at += writeSync(RESULT_FD, bytes, at);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      tries += 1;
      Bun.sleepSync(WRITE_WAIT_MS);
    }
  }
}

function complain(code: number, message: string): number {
  try {
    process.stderr.write(`${message}\n`);
  } catch {
    // Nobody listens any more; the exit code is all that is left.
  }
  return code;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
