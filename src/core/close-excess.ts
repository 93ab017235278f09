/** Which parts of the positions are to go for the goal of a close. */
import type { CloseGoal } from "./close-goal.ts";
import { isDust } from "./close-orders.ts";
import type { HeldPosition } from "./close-orders.ts";
import { inOtherMoney } from "./exposure.ts";
import { ceilToStep, floorToStep } from "./lots.ts";

/** Prices move while the last orders are looked at: an exposure within this share of the asked one is not reduced any more. */
export const REACHED_RATIO = 1.005;

/** The parts of positions that the goal wants closed, largest first; `amount` is what is to go, never more than is there. */
export function excessOf(goal: CloseGoal, positions: readonly HeldPosition[]): HeldPosition[] {
  switch (goal.kind) {
    case "flat":
      return positions.filter((position) => !isDust(position));
    case "cancel":
      return [];
    case "reduce":
      return reduction(positions, goal.exposure);
  }
}

/** Positions whose value the venue does not tell, or tells in other money than that of the rest: nobody can say what reducing them would leave. */
export function withoutValue(positions: readonly HeldPosition[]): HeldPosition[] {
  const counted = positions.filter((position) => isExposed(position) && !isDust(position));
  const other = new Set(inOtherMoney(counted));
  return counted.filter((position) => other.has(position) || valueOf(position) === undefined);
}

/** Sum of all notionals, long and short alike; positions without a value count as nothing. */
export function exposureOf(positions: readonly HeldPosition[]): number {
  return positions.filter(isExposed).reduce((sum, position) => sum + (valueOf(position) ?? 0), 0);
}

/**
 * Cuts each position by the same share, 1 − exposure ÷ total, rounded up to the lot, largest first, and ends as soon as the sum is
 * reached: what is left is below `exposure` by less than one lot of the position that was cut last.
 */
function reduction(positions: readonly HeldPosition[], exposure: number): HeldPosition[] {
  const total = exposureOf(positions);
  if (total <= exposure * REACHED_RATIO) return [];
  const ratio = 1 - exposure / total;
  const cuts: HeldPosition[] = [];
  let tooMuch = total - exposure;
  for (const position of positions.filter(isExposed).toSorted((a, b) => (valueOf(b) ?? 0) - (valueOf(a) ?? 0))) {
    const value = valueOf(position) ?? 0;
    if (value === 0 || isDust(position) || tooMuch <= 0) continue;
    const price = value / position.amount;
    const amount = wholeLots(position, Math.min(position.amount * ratio, tooMuch / price));
    tooMuch -= amount * price;
    cuts.push({ ...position, amount, notional: amount * price });
  }
  return cuts;
}

/** Owing the quote currency is no bet on a price. */
function isExposed({ owed }: HeldPosition): boolean {
  return owed !== "quote";
}

function wholeLots({ amount, rules }: HeldPosition, wanted: number): number {
  const most = floorToStep(amount, rules.stepAmount);
  return Math.min(most, Math.max(rules.minAmount, ceilToStep(wanted, rules.stepAmount)));
}

function valueOf({ notional, amount, markPrice }: HeldPosition): number | undefined {
  return notional ?? (markPrice === undefined ? undefined : amount * markPrice);
}
