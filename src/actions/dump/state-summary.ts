/** What a bot's state says it holds (docs/state.md), read by a process of its own: SQLite is heavy, and a damaged file may take long. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { startWorker } from "../../platform/worker.ts";

/** Longest look, ms; a state of many gigabytes is left to `supervisor state show`. */
const DEADLINE_MS = 5_000;
const MEMORY_BYTES = 256 * 1024 ** 2;

const answerSchema = z.discriminatedUnion("what", [
  z.looseObject({ what: z.literal("show"), view: z.looseObject({}) }),
  z.looseObject({ what: z.literal("failed"), error: z.string() }),
]);

/** As JSON: positions, unfinished orders, level, breakers; of values only their number. `undefined` for a bot that keeps no state. */
export async function stateSummary(folder: string, scratch: string): Promise<string | undefined> {
  if (!existsSync(join(folder, "state.db"))) return undefined;
  const own = mkdtempSync(join(scratch, ".dump-state-"));
  try {
    const lines: string[] = [];
    const worker = startWorker({
      args: ["__state"],
      job: `${JSON.stringify({ what: "show", folder })}\n`,
      deadlineMs: DEADLINE_MS,
      memory: MEMORY_BYTES,
      env: { TMPDIR: own },
      onLine: (line) => lines.push(line),
    });
    const { code, signal, timedOut } = await worker.done;
    const [line] = lines;
    if (line === undefined)
      throw new Error(`its reader ${timedOut ? "overran its deadline" : `ended with ${signal ?? `code ${code}`}`}`);
    const answer = answerSchema.parse(JSON.parse(line));
    if (answer.what === "failed") throw new Error(answer.error);
    return `${JSON.stringify(answer.view, undefined, 2)}\n`;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}
