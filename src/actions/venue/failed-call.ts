/** Which reading did not come, for people: what was asked for, where, and what came in its place. */
import type { VenueFailure } from "../../core/venue-error.ts";
import type { CallKind } from "./rates.ts";

export const NOT_ADMITTED = "the time was over before the venue's limit allowed the call";

/** The others are deeds, whose fate is told with the order. */
const READINGS: Readonly<Partial<Record<CallKind, string>>> = {
  markets: "the markets",
  time: "the time",
  prices: "the prices",
  positions: "the positions",
  orders: "the open orders",
  triggers: "the stop orders",
  account: "the account",
};

/** `why`: what came in place of an answer; `undefined`: no more than the kind of the failure says. */
export function failedCall(
  kind: CallKind | undefined,
  address: string,
  why: string | undefined,
): Pick<VenueFailure, "at"> {
  const what = kind === undefined ? undefined : READINGS[kind];
  return what === undefined ? {} : { at: { what, address, ...(why === undefined ? {} : { why }) } };
}
