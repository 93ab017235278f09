/** What an action is: a deed too heavy or too risky for the daemon, run as `supervisor __action NAME` in a process of its own. */
import type * as z from "zod";
import type { Clock } from "../platform/clock.ts";

interface ActionIo {
  /** Sends one line to whoever started the worker; it never throws and never waits for a reader. */
  readonly write: (line: unknown) => void;
  readonly clock: Clock;
}

export interface Action<Job extends z.ZodType = z.ZodType> {
  /** The job arrives as one JSON line on standard input. */
  readonly jobSchema: Job;
  /** Returns the process exit code. */
  readonly run: (job: z.output<Job>, io: ActionIo) => Promise<number>;
}

export function defineAction<Job extends z.ZodType>(action: Action<Job>): Action<Job> {
  return action;
}
