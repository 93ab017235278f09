/** A folder of a command for as long as it works, which goes also when a signal ends the command: nobody else would look for it. */
import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { runningWorkers } from "../../platform/worker.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** What has been told to end may write a last file meanwhile. */
const TRIES = 5;

/** Calls `deed` with a new folder below the temporary one, for us alone. */
export async function withScratchFolder<Value>(
  prefix: string,
  deed: (folder: string) => Promise<Value>,
): Promise<Value> {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  const end = (signal: (typeof SIGNALS)[number]): void => {
    // What works in it has a session of its own, and would go on.
    for (const { pid } of runningWorkers) process.kill(pid, "SIGKILL");
    remove(folder);
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    return await deed(folder);
  } finally {
    for (const signal of SIGNALS) process.off(signal, end);
    rmSync(folder, { recursive: true, force: true });
  }
}

function remove(folder: string): void {
  for (let tries = 1; tries <= TRIES; tries += 1) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch {
      // Once more.
    }
  }
}
