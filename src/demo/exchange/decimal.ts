/** Decimal arithmetic at a fixed number of digits, so that lots and ticks never drift: 0.1 + 0.2 must be 0.3 lots. */

/** Digits after the point of a decimal string such as a venue's step: "0.10" has one that counts. */
export function digitsOf(step: string): number {
  const fraction = step.split(".")[1] ?? "";
  return fraction.replace(/0+$/, "").length;
}

/** `value` at `digits` digits, half away from zero. */
export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Whether `value` is a whole number of steps. */
export function isMultiple(value: number, step: string): boolean {
  const scale = 10 ** digitsOf(step);
  const scaled = value * scale;
  const whole = Math.round(scaled);
  // Relative to the number's own size: doubles of 1e9 steps are off by more than those of 10.
  return (
    Math.abs(scaled - whole) <= 1e-9 * Math.max(1, Math.abs(whole)) && whole % Math.round(Number(step) * scale) === 0
  );
}
