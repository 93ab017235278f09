/** Stories that are told once in peace and then once for each line of their journal, with a kill at that line. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { program } from "./fixture.ts";
import type { Rig } from "./harness.ts";
import { checkJournal } from "./invariants.ts";
import { processesOfBot } from "./processes.ts";

/** Stories at a time: each of them mostly waits. */
const AT_A_TIME = 4;
/** More lines than any story has. */
const MAX_LINES = 200;

/** One story on one installation of its own. */
export interface Stage extends AsyncDisposable {
  readonly rig: Rig;
  /** From the daemon's start to its end, wherever an earlier daemon left off. Rejects when the daemon dies on the way. */
  readonly tell: () => Promise<void>;
  /** Throws where an invariant is violated. */
  readonly check: () => void;
}

/** One bot at a time, ever; none now; and a journal without a gap. */
export function checkLife(rig: Rig): void {
  expect(rig.read("starts")).not.toContain("overlap");
  expect(rig.read("daemon.err")).not.toContain("internal error");
  expect(processesOfBot("bot", rig.folder)).toEqual([]);
  checkJournal(rig.journal);
}

/** Whether an emergency was accepted. */
export function isOrdered({ journal }: Rig): boolean {
  return journal.some(
    (entry) => entry.kind === "decision" && entry.effects.some(({ kind }) => kind === "openIncident"),
  );
}

/** Names of the reports of its incidents. */
export function incidentsOf(rig: Rig): string[] {
  const folder = rig.state("bots/bot/incidents");
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
}

/** Lines of the file so far. */
export function linesOf(path: string): number {
  return readFileSync(path, "utf8").split("\n").length - 1;
}

/** Starts what kills the daemon of the rig at line `line` of its journal. */
function watchDaemon({ folder }: Rig, line: number): { readonly exited: Promise<number>; readonly kill: () => void } {
  const state = join(folder, ".supervisor");
  return watch(join(state, "journal/000001.ndjson"), line, "lock", join(state, "supervisor.lock"));
}

/** Starts a watcher outside of the rig's folder, which the rig's own end must not take for a process left behind. */
export function watch(
  journal: string,
  line: number,
  how: "lock" | "worker",
  where: string,
): { readonly exited: Promise<number>; readonly kill: () => void } {
  const child = Bun.spawn(program("kill-at-line.ts", journal, String(line), how, where), {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "inherit"],
  });
  return { exited: child.exited, kill: () => child.kill("SIGKILL") };
}

/** Tells the story with a daemon that is killed at the line, and then to its end with the next daemon. */
async function tellWithKill(stage: Stage, line: number): Promise<void> {
  const { rig, tell, check } = stage;
  const watcher = watchDaemon(rig, line);
  try {
    const outcome = await tell().then(
      () => undefined,
      (error: unknown) => new Error(`the story was cut short: ${String(error)}`, { cause: error }),
    );
    // It may have ended before the line came: a story's last lines depend on time.
    if (outcome !== undefined) {
      const died = await Promise.race([rig.daemon.exited.then(() => true), Bun.sleep(5_000).then(() => false)]);
      if (!died) throw outcome;
      await tell();
    }
    check();
  } catch (error) {
    throw new Error(`killed at line ${line}: ${String(error)}\n${rig.read(".supervisor/journal/000001.ndjson")}`, {
      cause: error,
    });
  } finally {
    watcher.kill();
    await watcher.exited;
  }
}

/** Tells the story once undisturbed, then once for each of its lines; returns how many lines that were. */
export async function killAtEveryLine(open: () => Promise<Stage>): Promise<number> {
  let lines = 0;
  {
    await using calm = await open();
    await calm.tell();
    calm.check();
    lines = linesOf(calm.rig.state("journal/000001.ndjson"));
  }
  if (lines > MAX_LINES) throw new Error(`the story has ${lines} lines, more than ${MAX_LINES}`);
  await eachOf(lines, async (line) => {
    await using stage = await open();
    await tellWithKill(stage, line);
  });
  return lines;
}

/** Runs `deed` for 1 to `count`, some at a time; the first failure is thrown when all have ended. */
export async function eachOf(count: number, deed: (n: number) => Promise<void>): Promise<void> {
  let next = 1;
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    while (next <= count && failures.length === 0) {
      const n = next;
      next += 1;
      // Safe: each kill needs the daemon of the one before to be gone.
      // oxlint-disable-next-line no-await-in-loop
      await deed(n).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  if (failures.length > 0) throw failures[0];
}
