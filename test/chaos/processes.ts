/** Which processes belong to one chaos test, and how the test ends them: by pid, and only those of its own folder. */
import { readFileSync, readlinkSync } from "node:fs";
import { isLive, listPids, readEnvironText, type ProcessId, readStat } from "../../src/platform/proc.ts";
import { signalProcess } from "../../src/platform/process-handle.ts";

/** Longest time that killed processes are waited for, ms. */
const KILL_PATIENCE_MS = 5_000;

/**
 * Living processes that work in the folder or carry its name in their environment, this one excepted. Daemon, bots, their
 * descendants, hooks and close workers all inherit the working folder, whatever else they shed.
 */
export function processesIn(folder: string): ProcessId[] {
  return listPids().flatMap((pid) => {
    const stat = pid === process.pid ? undefined : readStat(pid);
    if (stat === undefined || !isLive(pid, stat.startTicks)) return [];
    return worksIn(pid, folder) || readEnvironText(pid)?.includes(`${folder}/`) === true ? [stat] : [];
  });
}

/** The newest process of the folder whose command line holds all of `words`. */
export function findProcess(folder: string, ...words: string[]): number | undefined {
  const found = processesIn(folder).filter(({ pid }) => {
    const line = commandLine(pid);
    return words.every((word) => line.includes(word));
  });
  return found.toSorted((a, b) => b.startTicks - a.startTicks)[0]?.pid;
}

/** Kills every process of the folder and returns the command lines of those that were there. */
export async function endProcessesIn(folder: string): Promise<string[]> {
  const endMs = performance.now() + KILL_PATIENCE_MS;
  const seen = new Map<number, string>();
  for (let living = processesIn(folder); living.length > 0; living = processesIn(folder)) {
    for (const id of living) {
      seen.set(id.pid, `${id.pid} ${commandLine(id.pid)}`);
      signalProcess(id, "SIGKILL");
    }
    if (performance.now() > endMs) break;
    await Bun.sleep(10);
  }
  return [...seen.values()];
}

function worksIn(pid: number, folder: string): boolean {
  try {
    const cwd = readlinkSync(`/proc/${pid}/cwd`);
    return cwd === folder || cwd.startsWith(`${folder}/`);
  } catch {
    return false;
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}

/** Living processes of the folder that were started as bot `name`, by pid. */
export function processesOfBot(name: string, folder: string): number[] {
  return processesIn(folder).flatMap(({ pid }) =>
    `\0${readEnvironText(pid) ?? ""}\0`.includes(`\0SUPERVISOR_BOT=${name}\0`) ? [pid] : [],
  );
}
