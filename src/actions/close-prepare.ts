/** Opens the venue for a close or a plan: class, markets and symbols, with every wait bounded by the job's budget. */
import type { CloseJob } from "../core/close-job.ts";
import { describeFailure, unreachableText } from "../core/venue-error.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import { sleep } from "../platform/clock.ts";
import { createReachTeller } from "./close-io.ts";
import type { CloseIo, Teller } from "./close-io.ts";
import type { CloseRecord, Verdict } from "./close-record.ts";
import { describeError } from "./venue/describe-error.ts";
import type { Venue, VenueOptions } from "./venue/contract.ts";
import { openWithHook } from "./venue/open.ts";

const FIRST_WAIT_MS = 50;
const MAX_WAIT_MS = 2_000;
/** One refusal may be the venue's hiccup. */
const MAX_REFUSALS = 2;

export interface VenueTries {
  /** Monotonic ms after which nothing is tried again. */
  readonly deadlineMs: number;
  /** After the deadline and this every call is aborted, ms. */
  readonly overtimeMs: number;
  /** Nothing is tried again after no connection came about for this long, ms; absent: only the deadline counts. */
  readonly unreachableMs?: number;
  readonly tell: Teller;
}

/** Opens the venue, loads its markets, runs `deed` and counts the calls, all within the given time. */
export async function withVenue(
  job: CloseJob,
  io: CloseIo,
  record: CloseRecord,
  tries: VenueTries,
  deed: (venue: Venue) => Promise<Verdict>,
): Promise<Verdict> {
  const { clock } = io;
  const { deadlineMs, overtimeMs, tell } = tries;
  const end = new AbortController();
  const cancelEnd = clock.after(deadlineMs + overtimeMs - clock.monotonicMs(), () => end.abort());
  try {
    const onFailure = record.countFailure.bind(record);
    const venue = await tryToOpen(job, { clock, signal: end.signal, onFailure, onCall: io.onCall });
    if ("outcome" in venue) return venue;
    // Before the first call: one that gets no answer must not look like the step before.
    tell("closing", `reading the account at ${job.venue.exchange}`);
    try {
      const failed = await retry(io, tries, async () => {
        const failure = await venue.prepare();
        return failure === undefined ? { value: undefined } : { failure };
      });
      if (failed !== undefined) return failed;
      const stranger = venue.accountProblem?.();
      if (stranger !== undefined) return { outcome: "refused", reason: `${stranger}; nothing was sent` };
      const problem = venue.symbolProblem();
      return problem === undefined
        ? await deed(venue)
        : { outcome: "unsupported", reason: problem, misconfigured: true };
    } finally {
      record.calls = venue.calls;
    }
  } finally {
    cancelEnd();
    end.abort();
  }
}

async function tryToOpen(job: CloseJob, options: VenueOptions): Promise<Venue | Verdict> {
  try {
    return await openWithHook(job.venue, job.hook, job.incident, options);
  } catch (error) {
    return { outcome: "unsupported", reason: describeError(error, job.venue).replace(/^Error: /, "") };
  }
}

/** A timer may fire a little before its time, so the cut-off is known a little earlier, ms. */
const CUT_OFF_SLACK_MS = 250;

type Attempt<T> = { readonly value: T } | { readonly failure: VenueFailure };

/** Repeats a reading until it works, the key was refused twice, the venue cannot do it, or the time is over. */
export async function retry<T>(
  io: CloseIo,
  { deadlineMs, overtimeMs, unreachableMs = Number.POSITIVE_INFINITY, tell }: VenueTries,
  attempt: () => Promise<Attempt<T>>,
): Promise<T | Verdict> {
  const { clock, signal } = io;
  const tellReach = createReachTeller(tell);
  let refusals = 0;
  let awaySinceMs: number | undefined;
  let last: VenueFailure | undefined;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(MAX_WAIT_MS, waitMs * 2)) {
    const startMs = clock.monotonicMs();
    // Safe: tries follow each other.
    // oxlint-disable-next-line no-await-in-loop
    const answer = await attempt();
    if ("value" in answer) return answer.value;
    // At the end of the time every call is aborted, and that failure of ours must not hide the venue's own.
    const cutOff =
      answer.failure.kind === "throttled" && clock.monotonicMs() + CUT_OFF_SLACK_MS >= deadlineMs + overtimeMs;
    const failure = cutOff ? (last ?? answer.failure) : answer.failure;
    last = failure;
    const { kind } = failure;
    if (kind === "auth") refusals += 1;
    if (refusals >= MAX_REFUSALS)
      return {
        outcome: "keyRefused",
        reason: "the venue refuses the key; check key, secret, passphrase and allowed addresses",
      };
    if (kind === "unsupported") return { outcome: "unsupported", reason: "the driver cannot read this venue" };
    tellReach([failure]);
    awaySinceMs = unreachableText([failure]) === undefined ? undefined : (awaySinceMs ?? startMs);
    const giveUpAtMs = Math.min(deadlineMs, (awaySinceMs ?? deadlineMs) + unreachableMs);
    const leftMs = giveUpAtMs - clock.monotonicMs();
    if (leftMs <= 0 || signal?.aborted === true) return unreadable(failure);
    // A timer may fire within the millisecond before its time, and then there would be one call more.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, Math.ceil(Math.min(waitMs, leftMs)) + 1, signal);
    // From here on every call is aborted, and a failure of ours would hide the venue's.
    if (clock.monotonicMs() >= deadlineMs + overtimeMs) return unreadable(failure);
  }
}

function unreadable(failure: VenueFailure): Verdict {
  return { outcome: "unreadable", reason: `${describeFailure(failure)}; look at the account by hand` };
}
