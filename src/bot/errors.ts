/** The errors of the bot's SDK, and what it makes of the errors of others. It knows ccxt's classes by name, so it needs no ccxt. */
import {
  bannedForMs,
  judgeCallError,
  parseRetryAfterMs,
  type CallErrorFacts,
  type CallVerdict,
} from "../core/call-error.ts";
import type { BreakerState } from "../core/circuit.ts";

/** The breaker did not let the call through: nothing was sent. It has no stack, for it is made on every call of an outage. */
export class CircuitOpenError extends Error {
  override readonly name = "CircuitOpenError";
  readonly breaker: string;
  readonly state: BreakerState;
  /** How long calls will be rejected, ms; 0 where a few are let through already, `undefined` when a person must reset it. */
  readonly retryAfterMs: number | undefined;
  readonly reason: string | null;

  constructor(
    breaker: string,
    state: BreakerState,
    retryAfterMs: number | undefined,
    reason: string | null,
    cause: unknown,
  ) {
    super(undefined, { cause });
    this.breaker = breaker;
    this.state = state;
    this.retryAfterMs = retryAfterMs;
    this.reason = reason;
  }

  /** Made when it is read. */
  override get message(): string {
    const wait =
      this.retryAfterMs === undefined || this.retryAfterMs <= 0 ? "" : `, for ${Math.ceil(this.retryAfterMs)} ms more`;
    return `cannot call ${this.breaker}: its breaker is ${this.state}${wait}${this.reason === null ? "" : ` (${this.reason})`}`;
  }
}

/** Longest chain of classes that is looked at. */
const MAX_CHAIN = 20;

function factsOf(error: unknown): CallErrorFacts {
  if (typeof error !== "object" || error === null)
    return { name: "", message: String(error), chain: [], hasCause: false };
  const chain: string[] = [];
  for (
    let proto: unknown = Object.getPrototypeOf(error);
    typeof proto === "object" && proto !== null && chain.length < MAX_CHAIN;
    proto = Object.getPrototypeOf(proto)
  ) {
    const name = textOf(proto.constructor?.name);
    if (name !== undefined) chain.push(name);
  }
  return {
    name: textOf(read(error, "name")) ?? "",
    message: textOf(read(error, "message")) ?? "",
    chain,
    // A code as ECONNREFUSED is the mark of the system's errors.
    hasCause: read(error, "cause") !== undefined || textOf(read(error, "code")) !== undefined,
  };
}

/** What `error` means for breaker, retry and order; see `docs/sdk.md` for the map of ccxt's classes. */
export function judgeError(error: unknown): CallVerdict {
  return judgeCallError(factsOf(error));
}

/**
 * How long the service wants us to wait, ms: `retryAfterMs`, `retryAfter` (seconds, or an HTTP date) or
 * `headers["retry-after"]` of the error, or the end of a ban in its message. `undefined` where it says nothing.
 */
export function retryAfterMsOf(error: unknown, wallMs: number): number | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const exact = read(error, "retryAfterMs");
  if (typeof exact === "number" && exact >= 0) return exact;
  const said = read(error, "retryAfter") ?? headerOf(read(error, "headers"), "retry-after");
  const text = typeof said === "number" ? String(said) : textOf(said);
  const asked = text === undefined ? undefined : parseRetryAfterMs(text, wallMs, Date.parse);
  return asked ?? bannedForMs(textOf(read(error, "message")) ?? "", wallMs);
}

/** From a `Headers`, a map, or an object in whatever spelling. */
function headerOf(headers: unknown, name: string): unknown {
  if (typeof headers !== "object" || headers === null) return undefined;
  const get = read(headers, "get");
  if (typeof get === "function") return get.call(headers, name) ?? undefined;
  const key = Object.keys(headers).find((given) => given.toLowerCase() === name);
  return key === undefined ? undefined : read(headers, key);
}

function read(from: object, key: string): unknown {
  try {
    return Reflect.get(from, key);
  } catch {
    // A getter that throws says nothing.
    return undefined;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/**
 * Why a call was given up: no attempt was left (`exhausted`), no retry in the budget (`budget`), its breaker is `open`, it
 * was `aborted`, the venue refuses it (`fatal`), the level forbids it (`gate`), or nobody knows whether it was executed
 * (`ambiguous`): then it must not be made again before the venue was read.
 */
export type GiveUpReason = "exhausted" | "budget" | "open" | "aborted" | "fatal" | "gate" | "ambiguous";

export class ResilienceError extends Error {
  override readonly name = "ResilienceError";
  readonly reason: GiveUpReason;
  /** Calls that were made. */
  readonly attempts: number;
  /** The id of the order, where it was one. */
  readonly clientOrderId: string | undefined;

  constructor(
    what: string,
    reason: GiveUpReason,
    attempts: number,
    why: string,
    more: { readonly cause?: unknown; readonly clientOrderId?: string } = {},
  ) {
    super(`cannot ${what}: ${why}`, { cause: more.cause });
    this.reason = reason;
    this.attempts = attempts;
    this.clientOrderId = more.clientOrderId;
  }
}

/** Longest text of another error in ours, characters. */
const EXCERPT_CHARS = 200;

/** "NetworkError: no route", for the texts of our errors. */
export function excerptOf(error: unknown): string {
  const { name, message } = factsOf(error);
  return `${name === "" ? "" : `${name}: `}${message}`.slice(0, EXCERPT_CHARS);
}
