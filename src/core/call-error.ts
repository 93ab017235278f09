/** What an error of a call means for its breaker, for a retry and for an order: the error classes of ccxt by their names, and those of the runtime. */
import { classifyVenueError } from "./venue-error.ts";

/** An error as the shell saw it. */
export interface CallErrorFacts {
  /** `error.name`. */
  readonly name: string;
  readonly message: string;
  /** Names of the classes that it is an instance of, in any order. */
  readonly chain: readonly string[];
  /** Whether it was made from another error, as runtimes do with errors of the network. */
  readonly hasCause: boolean;
}

export interface CallVerdict {
  /** Whether the same call may help later. */
  readonly retry: boolean;
  /**
   * What the breaker makes of it: `failure` counts against the service, `ignore` does not (it has answered), `trip` opens
   * it at once (it wants fewer requests), `abandon` says nothing at all.
   */
  readonly breaker: "failure" | "ignore" | "trip" | "abandon";
  /** Whether the venue may have done what it was asked for. Only what is known not to have happened is `no`. */
  readonly executed: "no" | "maybe";
}

const REFUSED: CallVerdict = { retry: false, breaker: "ignore", executed: "no" };
/** Not done; the service answers, and asks to wait. */
const THROTTLED: CallVerdict = { retry: true, breaker: "trip", executed: "no" };
const LATE_CLOCK: CallVerdict = { retry: true, breaker: "ignore", executed: "no" };
const LOST: CallVerdict = { retry: true, breaker: "failure", executed: "maybe" };
const GIVEN_UP: CallVerdict = { retry: false, breaker: "abandon", executed: "maybe" };
/** The bot's own mistake, maybe while it read the reply: the same call would fail the same way. */
const MISTAKE: CallVerdict = { retry: false, breaker: "ignore", executed: "maybe" };
const NOT_LET_THROUGH: CallVerdict = { retry: false, breaker: "abandon", executed: "no" };

/** Pure and total: what is not recognised is a failure that may help to retry and that may have been executed. */
export function judgeCallError(facts: CallErrorFacts): CallVerdict {
  const is = (name: string): boolean => facts.name === name || facts.chain.includes(name);
  if (is("CircuitOpenError")) return NOT_LET_THROUGH;
  if (is("AbortError")) return GIVEN_UP;
  // The venue knows the id: it is our own order, of which the reply was lost, or one of an earlier life.
  if (is("DuplicateOrderId")) return MISTAKE;
  if (is("BaseError")) return judgeVenueError(facts);
  // Runtimes report a network that fails as a TypeError, too; that one names its cause.
  const mistake = (is("TypeError") || is("ReferenceError")) && !facts.hasCause && !/fetch|network/i.test(facts.message);
  return mistake ? MISTAKE : LOST;
}

function judgeVenueError(facts: CallErrorFacts): CallVerdict {
  const { kind } = classifyVenueError(facts);
  switch (kind) {
    case "throttled":
      return THROTTLED;
    case "clock":
      return LATE_CLOCK;
    case "auth":
    case "unsupported":
    case "rejected":
      return REFUSED;
    case "unknown":
      return LOST;
  }
}

/** Longest wait that a service may ask for, ms; more is taken for this. */
const RETRY_AFTER_MAX_MS = 3 * 86_400_000;

/**
 * `Retry-After` as ms from `wallMs` on: seconds or an HTTP date (RFC 9110, 10.2.3). `undefined` when it is neither, 0 for
 * a date in the past.
 */
export function parseRetryAfterMs(
  value: string,
  wallMs: number,
  parseDate: (text: string) => number,
): number | undefined {
  const text = value.trim();
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1_000 : parseDate(text) - wallMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), RETRY_AFTER_MAX_MS);
}

/** Until when Binance has banned this address, ms from `wallMs` on: it says so in the message alone. */
export function bannedForMs(message: string, wallMs: number): number | undefined {
  const until = /banned until (\d{13})\b/.exec(message)?.[1];
  return until === undefined ? undefined : Math.min(Math.max(0, Number(until) - wallMs), RETRY_AFTER_MAX_MS);
}
