/** Names for the checks of a schema that its own structure does not tell, so that what is derived from it knows them. */
import type * as z from "zod";

const names = new WeakMap<object, string>();

/** Names the check that `schema` got last. */
export function tag<S extends z.ZodType>(schema: S, name: string): S {
  const last = schema.def.checks?.at(-1);
  if (last === undefined) throw new Error(`internal error: there is no check to name ${name}`);
  names.set(last, name);
  return schema;
}

/** The name of a check; `undefined` for one without. */
export function tagOf(check: object): string | undefined {
  return names.get(check);
}
