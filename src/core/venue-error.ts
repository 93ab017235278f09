/** What a failed call to a venue means for the close; classes and words from the venues' error tables as ccxt maps them (ccxt manual, "Error Handling"). */

/** An error as the shell saw it. */
export interface VenueErrorFacts {
  /** `error.name`; ccxt sets it to the name of its most specific class. */
  readonly name: string;
  readonly message: string;
  /** Names of the ccxt error classes that it is an instance of, in any order; empty for an error that is not ccxt's. */
  readonly chain: readonly string[];
  /** Set when no connection came about: the sentence that says so. */
  readonly unreachable?: string | undefined;
}

/** Why the venue refused an order, as far as the next attempt can differ. */
export type RejectReason = "minimum" | "size" | "band" | "reduceOnly" | "positionSide" | "clientId" | "other";

/**
 * - `throttled`: not executed, the venue wants fewer requests
 * - `clock`: not executed, our timestamp is off
 * - `auth`: not executed, the key is refused
 * - `unsupported`: nothing was sent, ccxt cannot do this on the venue
 * - `rejected`: not executed, the venue refused this very request
 * - `unknown`: the request may have been executed or may still be; also when no connection came about (`unreachable` is
 *   the sentence that says so), for that is told to people and decides nothing about an order
 */
export type VenueFailure = { readonly at?: FailedCall } & (
  | { readonly kind: "throttled" }
  | { readonly kind: "clock" }
  | { readonly kind: "auth" }
  | { readonly kind: "unsupported" }
  | { readonly kind: "rejected"; readonly why: RejectReason }
  | { readonly kind: "unknown"; readonly unreachable?: string }
);

/** Which call failed; told to people, and decides nothing. */
interface FailedCall {
  /** What was asked for, as "the positions". */
  readonly what: string;
  /** Who was asked: an origin, or the program of a hook. */
  readonly address: string;
  /** Absent: no more than the kind of the failure says. */
  readonly why?: string;
}

const WORDS_OF_KIND: Readonly<Record<VenueFailure["kind"], string>> = {
  throttled: "it asks for fewer requests",
  clock: "it does not accept our clock",
  auth: "it refuses the key",
  unsupported: "the driver cannot do that",
  rejected: "it refuses the request",
  unknown: "no usable answer",
};

/** Codes that say more than their class. Binance USDⓈ-M negative, OKX 5xxxx, Bybit 11xxxx, Bitget 22xxx, KuCoin 300xxx. */
const REASON_OF_CODE: Readonly<Record<string, RejectReason>> = {
  "-1111": "size",
  "-4003": "size",
  "-4004": "size",
  "-4005": "size",
  "-2022": "reduceOnly",
  "-4118": "reduceOnly",
  "-4061": "positionSide",
  "-4131": "band",
  "-4016": "band",
  "-4024": "band",
  "-4015": "clientId",
  "51169": "reduceOnly",
  "51170": "reduceOnly",
  "51023": "reduceOnly",
  // Resting closes already hold the position: they are cancelled like other things in the way.
  "51112": "reduceOnly",
  "51206": "reduceOnly",
  "51203": "size",
  "51202": "size",
  "51201": "size",
  "51006": "band",
  "51135": "band",
  "51136": "band",
  "51137": "band",
  "51138": "band",
  "110017": "reduceOnly",
  // Bitget and KuCoin: there is no position to close.
  "22002": "reduceOnly",
  "300009": "reduceOnly",
  "110003": "band",
};

/** Tried in this order: the first that fits names the reason. Binance's −1013 names the filter of the spot market in words only. */
const REASON_OF_WORDS: readonly (readonly [RegExp, RejectReason])[] = [
  [/filter failure: (min_)?notional/i, "minimum"],
  // Kraken: wouldNotReducePosition; Gate: REDUCE_EXCEEDED.
  [/reduce[ _-]?only|not ?reduce ?position|reduce_exceeded/i, "reduceOnly"],
  [/position ?(side|idx|mode)|pos_?side/i, "positionSide"],
  [/client ?(order|algo)? ?id|clordid|cloid/i, "clientId"],
  [
    /percent_price|price (limit|band|range)|(limit|bound|highest|lowest) price|market orders? (is|are|was|were)|market is closed/i,
    "band",
  ],
  [/quantity|\bqty\b|\bsize\b|\bamount\b|\blot\b|lot_size|maximum/i, "size"],
];

/** The code of Binance for a key, address or permission that is not accepted; ccxt may disguise it as DDoSProtection. */
const REFUSED_KEY = /"code":\s*-2015\b|\b-2015\b/;
/** Codes of a timestamp outside the window that ccxt maps to classes of their own. */
const TIMESTAMP = /"code":\s*"?(-1021|-4188|-5028)\b/;

/** OKX's codes that ccxt has no class for, or one that says something else: most are bare ExchangeErrors, which would read as "not executed". */
const KIND_OF_CODE: Readonly<Record<string, "auth" | "clock" | "throttled" | "unknown">> = {
  "50030": "auth",
  "50035": "auth",
  "50119": "auth",
  "50120": "auth",
  "50121": "auth",
  "50036": "clock",
  "50040": "throttled",
  "50061": "throttled",
  // "Does not mean that the request was successful or failed", says the venue.
  "51054": "unknown",
  "51149": "unknown",
};

/** Pure and total: what is not recognised is `unknown`, the class that never leads to a blind resend. */
export function classifyVenueError(facts: VenueErrorFacts): VenueFailure {
  const is = (name: string): boolean => facts.name === name || facts.chain.includes(name);
  const byCode = isCcxt(facts) ? KIND_OF_CODE[codeOf(facts) ?? ""] : undefined;
  if (byCode !== undefined) return { kind: byCode };
  if (is("RateLimitExceeded") || is("DDoSProtection")) {
    return REFUSED_KEY.test(facts.message) ? { kind: "auth" } : { kind: "throttled" };
  }
  if (is("InvalidNonce") || (isCcxt(facts) && TIMESTAMP.test(facts.message))) return { kind: "clock" };
  if (is("AuthenticationError")) return { kind: "auth" };
  if (is("NotSupported") || is("ArgumentsRequired")) return { kind: "unsupported" };
  if (is("ExchangeError")) return { kind: "rejected", why: rejectReason(facts, is) };
  return facts.unreachable === undefined ? { kind: "unknown" } : { kind: "unknown", unreachable: facts.unreachable };
}

/** "cannot reach https://HOST (connection refused)" when that is why a reading failed. */
export function unreachableText(failures: readonly VenueFailure[]): string | undefined {
  return failures.flatMap((failure) => (failure.kind === "unknown" ? (failure.unreachable ?? []) : []))[0];
}

/** Why readings do not come, which may go on for minutes; `undefined`: they do, or what failed will not be tried again. */
export function waitsText(failures: readonly VenueFailure[]): string | undefined {
  const waits = failures.find(({ kind }) => kind === "unknown" || kind === "throttled" || kind === "clock");
  return unreachableText(failures) ?? (waits === undefined ? undefined : describeFailure(waits));
}

/** Why a venue could not be read, for people: which call, at which address, and how that failed, as far as it is known. */
export function describeFailure(failure: VenueFailure): string {
  const { kind, at } = failure;
  const away = unreachableText([failure]);
  if (away !== undefined || at === undefined) return away ?? `the venue could not be read (${WORDS_OF_KIND[kind]})`;
  return `cannot read ${at.what} at ${at.address}: ${at.why ?? WORDS_OF_KIND[kind]}`;
}

/** Of several, the one that says most; `undefined`: none says more than that something failed. */
export function failureText(failures: readonly VenueFailure[]): string | undefined {
  const located = failures.find(({ at }) => at !== undefined);
  return unreachableText(failures) ?? (located === undefined ? undefined : describeFailure(located));
}

/** What a call of unknown outcome got in the place of an answer; `undefined`: that is not known. Always the same words for the same fault. */
export function missedAnswer(facts: VenueErrorFacts): string | undefined {
  // As ccxt spells what a server answered: id, method, address, status, reason, body.
  const status = isCcxt(facts) ? /^\S+ [A-Z]+ https?:\S+ (\d{3})\b/.exec(facts.message)?.[1] : undefined;
  if (status !== undefined) return `it answered with status ${status}`;
  if (facts.chain.includes("RequestTimeout") || facts.name === "TimeoutError") return "no answer in time";
  return facts.name === "NetworkError" ? "the connection broke off" : undefined;
}

function isCcxt(facts: VenueErrorFacts): boolean {
  return facts.chain.includes("BaseError");
}

function rejectReason(facts: VenueErrorFacts, is: (name: string) => boolean): RejectReason {
  // An id that is taken is not an id that the venue cannot read: the next order has another one anyway.
  if (is("DuplicateOrderId")) return "other";
  if (is("MarketClosed")) return "band";
  const code = codeOf(facts);
  const byCode = code === undefined ? undefined : REASON_OF_CODE[code];
  if (byCode !== undefined) return byCode;
  const text = saidBy(facts.message);
  return REASON_OF_WORDS.find(([words]) => words.test(text))?.[1] ?? "other";
}

/** OKX's reply names `clOrdId` whatever the reason is: only its sentence tells. */
function saidBy(message: string): string {
  return /"sMsg"\s*:\s*"([^"]*)"/.exec(message)?.[1] ?? message;
}

function codeOf({ message }: VenueErrorFacts): string | undefined {
  return /"?(?:code|sCode|retCode)"?\s*:\s*"?(-?\d+)/.exec(stripOkxEnvelope(message))?.[1];
}

/** OKX wraps the order's own `sCode` into an envelope whose `code` is 1 or 2: the inner code is the reason. */
function stripOkxEnvelope(message: string): string {
  const inner = message.indexOf('"sCode"');
  return inner < 0 ? message : message.slice(inner);
}
