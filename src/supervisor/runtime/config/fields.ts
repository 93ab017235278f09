/** The config's JSON Schema, and the way through it: what stands at a path, and in which unit it is written. */
import * as z from "zod";
import { real } from "../../../core/later.ts";
import { cpuPercent, duration, size } from "../../../core/quantities.ts";
import type { Path } from "./issues.ts";
import { valueAt } from "./value-at.ts";
import { configSchema } from "./schema.ts";

/** The part of JSON Schema (draft 2020-12) that the config's schema uses. */
export interface Field {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Field | false;
  readonly propertyNames?: Field;
  readonly items?: Field;
  readonly oneOf?: readonly Field[];
  /** Forms of one value. */
  readonly anyOf?: readonly Field[];
}

/** How a text in the config becomes a number in the program. */
export type Unit = "duration" | "size" | "cpu";

let built: Field | undefined;

/** The schema of the file as it is written, before defaults; built once, on first use. */
export function configField(): Field {
  // Safe: zod writes draft 2020-12, of which `Field` names the keywords that this schema makes it use.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  built ??= z.toJSONSchema(real(configSchema), { io: "input" }) as Field;
  return built;
}

/** The field below `field` that `step` leads to; `value` chooses among the kinds of a union. */
export function childField(field: Field, step: string | number, value: unknown): Field | undefined {
  const chosen = optionField(field, value);
  if (typeof step === "number") return chosen?.items;
  const additional = chosen?.additionalProperties;
  return chosen?.properties?.[step] ?? (additional === false ? undefined : additional);
}

/** The field at `path` in a config whose data are `root`; `undefined` for a place that the schema does not know. */
export function fieldAt(root: unknown, path: Path): Field | undefined {
  let field: Field | undefined = configField();
  let value: unknown = root;
  for (const step of path) {
    if (field === undefined) return undefined;
    field = childField(field, step, value);
    value = valueAt(value, [step]);
  }
  return field === undefined ? undefined : (optionField(field, value) ?? field);
}

/** The unit of a text field; durations, sizes and CPU shares are told by their patterns. */
export function unitOf(field: Field | undefined): Unit | undefined {
  return field?.pattern === undefined ? undefined : units().get(field.pattern);
}

let unitsByPattern: ReadonlyMap<string, Unit> | undefined;

function units(): ReadonlyMap<string, Unit> {
  unitsByPattern ??= new Map<string, Unit>([
    [patternOf(duration()), "duration"],
    [patternOf(size()), "size"],
    [patternOf(cpuPercent()), "cpu"],
  ]);
  return unitsByPattern;
}

function patternOf(schema: z.ZodType): string {
  return String(z.toJSONSchema(schema, { io: "input" }).pattern);
}

/** Of a union over `kind`, the option whose kind `value` has; any other field is its own only option. */
export function optionField(field: Field, value: unknown): Field | undefined {
  if (field.oneOf === undefined) return field;
  const kind = valueAt(value, ["kind"]);
  return field.oneOf.find((option) => option.properties?.["kind"]?.const === kind);
}
