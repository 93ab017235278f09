/** The way through the data of a parsed config. */
import type { Path } from "./issues.ts";

/** The value at `path` below `root`; `undefined` when there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    // Safe: `hasOwn` found the property on the line above.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
