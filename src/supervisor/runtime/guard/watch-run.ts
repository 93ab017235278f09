/** Runs one look at the account in a worker. */
import { join } from "node:path";
import { watchAnswerSchema, type WatchAnswer, type WatchJob } from "../../../core/watch-job.ts";
import { isUndying, startWorker, type Worker } from "../../../platform/worker.ts";
import { venueAccess } from "../closing.ts";
import type { GuardDeps } from "./guard.ts";

/** The worker's own budget is 20 s; a venue class takes its time to load on a busy machine, ms. */
const DEADLINE_MS = 60_000;
/** Markets of the largest venue and ccxt, bytes. */
const MEMORY_BYTES = 384 * 1_024 ** 2;

/** Another one could be held as well, and the next. */
const UNDYING = "the worker of the last look was killed and does not die, as it waits for a disk that does not answer";

export interface Look {
  readonly loss: WatchJob["loss"];
  readonly deadman: WatchJob["deadman"];
}

export interface LookEvents {
  readonly onStart: (worker: Worker) => void;
  /** Also of an answer that another one follows: the worker tells which countdowns it is about to set. */
  readonly onAnswer: (answer: WatchAnswer) => void;
}

/** The last answer, or why there is none. Never throws. */
export async function lookAtAccount(
  { plan, clock, env }: Pick<GuardDeps, "plan" | "clock" | "env">,
  look: Look,
  { onStart, onAnswer }: LookEvents,
): Promise<WatchAnswer | { readonly failed: string }> {
  try {
    const { emergency } = plan.config;
    if (emergency === undefined) return { failed: "there is no emergency section" };
    const work = `look at the account of ${plan.name}`;
    if (isUndying(work)) return { failed: UNDYING };
    const job: WatchJob = { version: 1, venue: venueAccess(plan, emergency, env), ...look };
    let answer: WatchAnswer | undefined;
    const worker = startWorker({
      args: ["__action", "watch-account"],
      job: JSON.stringify(job),
      deadlineMs: DEADLINE_MS,
      memory: MEMORY_BYTES,
      clock,
      givesUp: work,
      stderrPath: join(plan.files.dir, "watch.log"),
      onLine: (text) => {
        const told = answerOf(text);
        if (told === undefined) return;
        answer = told;
        onAnswer(told);
      },
    });
    onStart(worker);
    const { code, signal, timedOut } = await worker.done;
    const how = timedOut ? "overran its deadline" : `ended with ${signal ?? `code ${code}`}`;
    return answer ?? { failed: `the worker that looks at the account ${how}` };
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}

function answerOf(text: string): WatchAnswer | undefined {
  try {
    const parsed = watchAnswerSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
