/** Lenient looks at a config that may be wrong anywhere: what is not of the kind that is asked for counts as absent. */

/** A map; empty for anything else. */
export function map(value: unknown): Readonly<Record<string, unknown>> {
  // Safe: a map of unknown values is all that is claimed.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return isMap(value) ? (value as Record<string, unknown>) : {};
}

export function isMap(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A list; empty for anything else. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A list of texts only; empty for anything else. */
export function words(value: unknown): readonly string[] {
  return Array.isArray(value) && value.every((each): each is string => typeof each === "string") ? value : [];
}

export function word(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

export function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
