/**
 * Checks of what is read at every start, before the first bot may run: building the schemas of it takes longer than all the reading.
 * What such a check accepts, the schema would take as it is; whatever it does not accept is left to the schema to judge.
 */

/** A schema leaves out `__proto__`, so what has it is for the schema. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !Object.hasOwn(value, "__proto__");
}

/** As `z.int()`. */
export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

/** As `z.int().min(0)`. */
export function isCount(value: unknown): value is number {
  return isWhole(value) && value >= 0;
}

/** Whether each key is one of `known`: a schema may drop the others. */
export function hasOnly(value: object, known: ReadonlySet<string>): boolean {
  return Object.keys(value).every((key) => known.has(key));
}
