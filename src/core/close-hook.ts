/**
 * What a close hook (`driver: exec` and `webhook`) is asked, and what its answers mean.
 *
 * A hook is somebody else's program: whatever is not a clear answer is of unknown outcome, and an account is never called flat by it.
 */
import * as z from "zod";
import type { CloseOrder, HeldPosition, OpenOrder, SendResult } from "./close-orders.ts";
import type { Reading } from "./close-plan-types.ts";
import type { RejectReason, VenueFailure } from "./venue-error.ts";

/** One request; for exec a JSON line on standard input, for webhook the body. */
export interface HookRequest {
  readonly v: 1;
  /** `close` without a symbol means everything that is open; so does `cancel`. */
  readonly op: "preflight" | "snapshot" | "cancel" | "close";
  readonly incident: string;
  /** Of this request; of a close, also the client order id. Letters, digits and dashes, at most 36. */
  readonly id: string;
  readonly symbol?: string;
  readonly side?: "buy" | "sell";
  readonly positionSide?: "long" | "short";
  readonly hedged?: boolean;
  readonly amount?: number;
  /** Price of an immediate-or-cancel limit order; absent: a market order. */
  readonly limitPrice?: number;
  /** Ids of the orders to cancel, and whether they are conditional ones. */
  readonly orders?: readonly string[];
  readonly trigger?: boolean;
  /** Always: an order that could open or turn a position is never asked for. */
  readonly reduceOnly: true;
  /** Wall time, ms since 1970: nothing may be executed after it. */
  readonly deadlineMs: number;
}

/** A hook that has not answered by then is ended, and the outcome is unknown, ms. */
export const HOOK_TIMEOUT_MS = 10_000;
/** Largest answer that is read, bytes: some thousand positions. */
export const MAX_HOOK_ANSWER_BYTES = 1_048_576;
const MAX_ENTRIES = 10_000;
const MAX_WORD_CHARS = 200;

/** Languages with decimals write them as text. */
const number = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+(\.\d+)?$/)
    .transform(Number),
]);
const word = z.string().min(1).max(MAX_WORD_CHARS);
const positive = number.refine((value) => value > 0);

const positionSchema = z.object({
  symbol: word,
  side: z.enum(["long", "short"]),
  amount: number.refine((value) => value >= 0),
  notional: number.optional(),
  hedged: z.boolean().optional(),
  markPrice: positive.optional(),
  minAmount: number.refine((value) => value >= 0).optional(),
  stepAmount: positive.optional(),
  maxAmount: positive.optional(),
});
const orderSchema = z.object({
  id: z.union([word, z.int().transform(String)]),
  clientId: z.string().max(MAX_WORD_CHARS).optional(),
  symbol: word,
  reduceOnly: z.boolean().optional(),
  trigger: z.boolean().optional(),
});
const answerSchema = z.object({
  ok: z.boolean(),
  positions: z.array(positionSchema).max(MAX_ENTRIES).optional(),
  orders: z.array(orderSchema).max(MAX_ENTRIES).optional(),
  placed: z.enum(["yes", "no", "unknown"]).optional(),
  filled: number.refine((value) => value >= 0).optional(),
  average: positive.optional(),
  error: z.object({ class: z.string().optional(), msg: z.string().optional() }).optional(),
});
export type HookAnswer = z.output<typeof answerSchema>;

/** `undefined` for whatever is no answer. A field that is null counts as absent. */
export function readHookAnswer(text: string): HookAnswer | undefined {
  try {
    const value: unknown = JSON.parse(text, (_key, field: unknown) => field ?? undefined);
    const parsed = answerSchema.safeParse(value);
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** The account as the hook shows it; a part that it does not show is unreadable, not empty. */
export function readingOf(answer: HookAnswer | undefined, symbols: readonly string[]): Reading {
  const inScope = ({ symbol }: { readonly symbol: string }): boolean =>
    symbols.length === 0 || symbols.includes(symbol);
  const failure = answer?.ok === true ? undefined : failureOf(answer);
  if (answer === undefined || failure !== undefined)
    return {
      positions: undefined,
      orders: undefined,
      triggers: undefined,
      failures: [failure ?? { kind: "unknown" }],
    };
  const { positions, orders } = answer;
  const shown = orders?.filter(inScope);
  return {
    positions: positions?.filter(inScope).flatMap((position) => (position.amount === 0 ? [] : [heldBy(position)])),
    orders: shown?.filter(({ trigger }) => trigger !== true).map(openOrderOf),
    triggers: shown?.filter(({ trigger }) => trigger === true).map(openOrderOf),
    failures: positions === undefined || orders === undefined ? [{ kind: "unknown" }] : [],
  };
}

/** How an order ended. Only a clear yes and a clear no are believed: `placed` must not contradict `ok`. */
export function sendResultOf(answer: HookAnswer | undefined): SendResult {
  if (answer === undefined) return { kind: "unknown" };
  const { ok, placed, filled } = answer;
  if (ok && placed === "yes") return { kind: "accepted", filled };
  if (ok || placed !== "no") return { kind: "unknown" };
  const failure = failureOf(answer);
  return failure.kind === "unknown" ? { kind: "rejected", why: "other" } : failure;
}

/** What went wrong in an operation that places nothing; `undefined` when it worked. */
export function deedFailure(answer: HookAnswer | undefined): VenueFailure | undefined {
  return answer?.ok === true ? undefined : failureOf(answer);
}

const KINDS = ["auth", "throttled", "clock", "unsupported"] as const;
const REASONS: readonly RejectReason[] = ["size", "band", "reduceOnly", "positionSide", "clientId"];

/** The class that the hook names; any other name is a failure of unknown outcome. */
function failureOf(answer: HookAnswer | undefined): VenueFailure {
  const name = answer?.error?.class;
  const kind = KINDS.find((known) => known === name);
  if (kind !== undefined) return { kind };
  const why = REASONS.find((known) => known === name);
  if (why !== undefined) return { kind: "rejected", why };
  return name === "rejected" ? { kind: "rejected", why: "other" } : { kind: "unknown" };
}

function heldBy(position: z.output<typeof positionSchema>): HeldPosition {
  const { symbol, side, amount, notional, hedged, markPrice, minAmount, stepAmount, maxAmount } = position;
  return {
    symbol,
    side,
    amount,
    ...(notional === undefined ? {} : { notional: Math.abs(notional) }),
    hedged: hedged === true,
    markPrice,
    marginMode: undefined,
    rules: { minAmount: minAmount ?? 0, stepAmount, maxMarketAmount: maxAmount, maxLimitAmount: maxAmount },
  };
}

function openOrderOf({ id, clientId, symbol, reduceOnly }: z.output<typeof orderSchema>): OpenOrder {
  return { id, clientId, symbol, reduceOnly: reduceOnly === true };
}

/** The order as the hook is asked for it. */
export function orderFields(order: CloseOrder): Partial<HookRequest> {
  const { symbol, side, positionSide, hedged, amount, limitPrice } = order;
  return { symbol, side, positionSide, hedged, amount, ...(limitPrice === undefined ? {} : { limitPrice }) };
}
