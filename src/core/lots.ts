/** Amounts as whole multiples of a market's lot, both ways. */

/** Smallest multiple of `step` that is not below `amount`, safe against binary fractions. */
export function ceilToStep(amount: number, step: number | undefined): number {
  if (step === undefined || step <= 0) return amount;
  return Number((Math.ceil(amount / step - 1e-9) * step).toPrecision(12));
}

/** Largest multiple of `step` that is not above `amount`, safe against binary fractions: 0.3 of step 0.1 stays 0.3. */
export function floorToStep(amount: number, step: number | undefined): number {
  if (step === undefined || step <= 0) return amount;
  const whole = Math.floor(amount / step + 1e-9) * step;
  return Math.min(amount, Number(whole.toPrecision(12)));
}
