/** How a close ends and what is said of it: flat, reached, left open, not readable, or something else traded. */
import { goalText } from "./close-goal.ts";
import type { CloseOutcome } from "./close-job.ts";
import type { Loan } from "./close-loans.ts";
import { positionKey } from "./close-orders.ts";
import type { HeldPosition } from "./close-orders.ts";
import type { Decision, PlanPolicy, PlanState, Reading, Work } from "./close-plan-types.ts";
import { flatText } from "./close-scope.ts";
import { counted } from "./counted.ts";
import { orderIdPrefix } from "./incident.ts";
import { failureText } from "./venue-error.ts";

/** The bot's last order may be executed after its end, and a venue may show an older state once. */
const MIN_GROWN = 3;

/** What appeared after the account was flat and is not ours; an order of before that shows again is only a cancel that did not last. */
export function foreignActivity(
  policy: PlanPolicy,
  state: PlanState,
  reading: Reading,
  open: readonly HeldPosition[],
): string[] {
  const ours = orderIdPrefix(policy.incident);
  const orders = [...(reading.orders ?? []), ...(reading.triggers ?? [])].filter(
    ({ id, clientId }) => !state.seen.has(id) && clientId?.startsWith(ours) !== true,
  );
  // Positions that are meant to stay say nothing.
  const opened = policy.goal.kind === "flat" ? open : [];
  return [
    ...opened.map(({ symbol, side, amount }) => `position ${symbol} ${side} ${amount}`),
    ...orders.map(({ symbol, id }) => `order ${symbol} ${id}`),
  ];
}

export function done(outcome: CloseOutcome, reason: string): Extract<Decision, { kind: "done" }> {
  return { kind: "done", outcome, reason, foreign: [] };
}

export function shownFlat({ goal, scope }: PlanPolicy, still: "still " | "" = ""): string {
  if (goal.kind === "cancel") return "no order is open but the stops of open positions; the positions stay, as asked";
  if (goal.kind === "reduce") return `the exposure is ${goal.exposure} or less, as asked`;
  return scope.length === 0 ? `the venue ${still}shows no position and no order` : `${still}${flatText(scope)}`;
}

/** What is looked at again after a while: of an account whose positions are to stay nobody may say that it is flat. */
export function quietText({ goal, scope }: Pick<PlanPolicy, "goal" | "scope">): string {
  if (goal.kind === "cancel") return "no order is open but the stops of open positions";
  return goal.kind === "reduce" ? `the exposure is ${goal.exposure} or less` : flatText(scope);
}

export function foreignDecision({ goal, scope }: PlanPolicy, foreign: readonly string[]): Decision {
  const flat = scope.length === 0 ? "flat" : flatText(scope);
  const then = goal.kind === "flat" ? `it was ${flat}` : "its orders were gone";
  const reason = `something else traded on the account after ${then}; stop it, then close again`;
  return { kind: "done", outcome: "foreign", reason, foreign };
}

/** The last word where something is still open. */
export function leftOpen(
  policy: PlanPolicy,
  { grown, grownKeys }: PlanState,
  work: Work,
  reading: Reading,
): Extract<Decision, { kind: "done" }> {
  if (grown < MIN_GROWN) return residual(policy, work, reading);
  const reason = `something else trades on the account: positions grew ${grown} times while they were closed; stop it, then close again`;
  const foreign = work.open
    .filter(({ symbol, side }) => grownKeys.has(positionKey(symbol, side)))
    .map(({ symbol, side, amount }) => `position ${symbol} ${side} ${amount}`);
  return { kind: "done", outcome: "foreign", reason, foreign };
}

function residual({ goal }: PlanPolicy, work: Work, reading: Reading): Extract<Decision, { kind: "done" }> {
  const all = (reading.orders ?? []).length + (reading.triggers ?? []).length;
  const due = work.cancels.reduce((sum, { orders }) => sum + orders.length, 0);
  const owed = work.loans.length === 0 ? "" : `, ${counted(work.loans.length, "loan")} (${owedText(work.loans)})`;
  const open = counted(work.excess.length, "position");
  const left = `${open}${owed} and ${counted(goal.kind === "flat" ? all : due, "order")}`;
  if (goal.kind === "flat")
    return done("residual", `${left} are still open; close them by hand or run the close again`);
  return done("residual", `${left} are still to be worked on, to ${goalText(goal)}; do it by hand or run it again`);
}

export function unvalued({ unvalued: [first] }: Work): Decision {
  const reason = `the venue does not tell what the position in ${first?.symbol ?? "a market"} is worth in the money of the rest; reduce by hand, or close everything`;
  return done("residual", reason);
}

/** Nothing else is left, and time does not make it saleable. */
export function unsaleable(stays: readonly HeldPosition[]): Decision {
  const owed = stays.filter((position) => position.owed !== undefined);
  const sold = stays.filter((position) => position.owed === undefined);
  const parts = [
    ...(sold.length === 0
      ? []
      : [`no market sells ${namesOf(sold)} for the quote currency; sell by hand, or name it in the section's keep`]),
    ...(owed.length === 0
      ? []
      : [
          `${namesOf(owed)} stays owed, and nothing that may be sold is left to pay for it; transfer it in and repay by hand`,
        ]),
  ];
  return done("residual", parts.join("; "));
}

function namesOf(positions: readonly HeldPosition[]): string {
  return positions.map(({ symbol, amount }) => `${amount} ${symbol}`).join(", ");
}

function owedText(loans: readonly Loan[]): string {
  return loans.map(({ symbol, amount }) => `${amount} ${symbol}`).join(", ");
}

export function unreadable(reading: Reading): Decision {
  const parts = [
    ...(reading.positions === undefined ? ["positions"] : []),
    ...(reading.orders === undefined ? ["orders"] : []),
    ...(reading.triggers === undefined ? ["stop orders"] : []),
  ];
  const known = failureText(reading.failures);
  const why = known === undefined ? "" : `${known}: `;
  return done("unreadable", `${why}the venue did not show ${parts.join(" and ")}; look at the account by hand`);
}
