/** The config's schema as a table: what plain.ts checks a config by, without zod. Printed into plain-table.ts by `bun run generate`. */
import * as z from "zod";
import { DURATION_PATTERN } from "../../../core/duration.ts";
import { real } from "../../../core/later.ts";
import { CPU_PATTERN, SIZE_PATTERN } from "../../../core/size.ts";
import { tagOf } from "../../../core/tag.ts";
import type { Shape } from "./plain.ts";

type Parts = Omit<Shape, "optional" | "default">;

/** The table of `schema`. What it cannot say is `ask`: a config that has it goes to the schema itself. */
export function shapeOf(schema: z.core.$ZodType): Shape {
  const { def } = wide(schema);
  switch (def.type) {
    case "optional":
      return { ...shapeOf(inner(def)), optional: true };
    case "nullable": {
      const shape = shapeOf(inner(def));
      return shape.is === "ask" ? shape : { ...shape, nullable: true };
    }
    case "default":
    case "prefault":
      return { ...shapeOf(inner(def)), default: z.parse(schema, undefined) };
    default: {
      const shape = bare(schema);
      const checked = shape === undefined ? undefined : withChecks(shape, schema);
      return checked ?? { is: "ask" };
    }
  }
}

interface Wide {
  readonly type: string;
  readonly checks?: readonly z.core.$ZodCheck[];
  readonly [key: string]: unknown;
}

/** zod's own description of a schema, of which each kind has other keys. */
function wide(schema: z.core.$ZodType): { readonly def: Wide } {
  // Safe: every schema of zod has a definition with its type, under this name; the rest is read as unknown.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion, no-underscore-dangle
  return { def: real(schema)._zod.def as unknown as Wide };
}

function isSchema(value: unknown): value is z.core.$ZodType {
  return typeof value === "object" && value !== null && "_zod" in value;
}

function inner(def: Wide, key = "innerType"): z.core.$ZodType {
  const found = def[key];
  if (isSchema(found)) return found;
  throw new Error(`internal error: a schema of type ${def.type} has no ${key}`);
}

function bare(schema: z.core.$ZodType): Parts | undefined {
  const { def } = wide(schema);
  switch (def.type) {
    case "string":
      return { is: "text" };
    case "number":
      return { is: "number" };
    case "boolean":
      return { is: "flag" };
    case "enum":
      return { is: "one", of: Object.values(Object(def["entries"])) };
    case "literal":
      return { is: "one", of: [...(Array.isArray(def["values"]) ? def["values"] : [])] };
    case "pipe":
      return unitOf(inner(def, "in"));
    case "array":
      return { is: "list", item: shapeOf(inner(def, "element")) };
    case "record":
      return (
        recordOf(def) ?? { is: "record", key: shapeOf(inner(def, "keyType")), item: shapeOf(inner(def, "valueType")) }
      );
    case "object":
      return { is: "map", keys: shapesOf(def["shape"]) };
    case "union":
      return kindsOf(def) ?? eitherOf(def);
    default:
      return undefined;
  }
}

function shapesOf(shape: unknown): Record<string, Shape> {
  const entries: [string, unknown][] = Object.entries(Object(shape));
  return Object.fromEntries(
    entries.map(([key, field]): [string, Shape] => [key, isSchema(field) ? shapeOf(field) : { is: "ask" }]),
  );
}

function kindsOf(def: Wide): Parts | undefined {
  const options: unknown = def["options"];
  if (def["discriminator"] !== "kind" || !Array.isArray(options)) return undefined;
  const kinds: Record<string, Shape> = {};
  for (const option of options) {
    const shape = isSchema(option) ? shapeOf(option) : undefined;
    const kind: unknown = shape?.keys?.["kind"]?.of?.[0];
    if (shape === undefined || typeof kind !== "string") return undefined;
    kinds[kind] = shape;
  }
  return { is: "kinds", keys: kinds };
}

/** Of texts and choices only: they are what they are, whichever of them took it. */
function eitherOf(def: Wide): Parts | undefined {
  const options: unknown = def["options"];
  if (def["discriminator"] !== undefined || !Array.isArray(options)) return undefined;
  const any = options.map((option: unknown): Shape => (isSchema(option) ? shapeOf(option) : { is: "ask" }));
  return any.every(({ is }) => is === "text" || is === "one") ? { is: "either", any } : undefined;
}

/** One whose keys are choices must have each of them, unless it is partial; `undefined`: its keys are texts. */
function recordOf(def: Wide): Parts | undefined {
  const { def: key } = wide(inner(def, "keyType"));
  if (key.type !== "enum") return undefined;
  const item = shapeOf(inner(def, "valueType"));
  const each: Shape = def["partial"] === true ? { ...item, optional: true } : item;
  return {
    is: "map",
    keys: Object.fromEntries(Object.values(Object(key["entries"])).map((name) => [String(name), each])),
  };
}

/** A text that becomes a number is told by its pattern. */
function unitOf(text: z.core.$ZodType): Parts | undefined {
  const pattern = z.globalRegistry.get(real(text))?.["pattern"];
  switch (pattern) {
    case DURATION_PATTERN.source:
      return { is: "duration" };
    case SIZE_PATTERN.source:
      return { is: "size" };
    case CPU_PATTERN.source:
      return { is: "cpu" };
    default:
      return undefined;
  }
}

/** With the bounds and rules of the schema; `undefined` when one of them is not known. */
function withChecks(shape: Parts, schema: z.core.$ZodType): Shape | undefined {
  const { def } = wide(schema);
  const patterns: string[] = [];
  const rules: string[] = [];
  const more: { min?: number; max?: number; whole?: true } = {};
  const checks = [...(def["check"] === undefined ? [] : [schema]), ...(def.checks ?? [])];
  for (const check of checks) {
    // Safe: every check of zod has a definition under this name; its keys are read as unknown.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion, no-underscore-dangle
    const { check: kind, ...facts } = check._zod.def as unknown as { check: string } & Record<string, unknown>;
    const rule = tagOf(check);
    const { pattern, format, minimum, maximum, value, inclusive } = facts;
    if (rule !== undefined) rules.push(rule);
    else if (kind === "string_format" && format === "datetime") rules.push("time");
    else if (kind === "string_format" && format === "regex" && pattern instanceof RegExp && pattern.flags === "")
      patterns.push(pattern.source);
    else if (kind === "string_format" && format === "url" && isWeb(facts["protocol"])) rules.push("plain url");
    else if (kind === "min_length" && typeof minimum === "number") more.min = Math.max(minimum, more.min ?? minimum);
    else if (kind === "max_length" && typeof maximum === "number") more.max = Math.min(maximum, more.max ?? maximum);
    else if (kind === "greater_than" && inclusive === true && typeof value === "number") more.min = value;
    else if (kind === "less_than" && inclusive === true && typeof value === "number") more.max = value;
    else if (kind === "number_format" && format === "safeint") more.whole = true;
    else return undefined;
  }
  return {
    ...shape,
    ...(patterns.length === 0 ? {} : { patterns }),
    ...(rules.length === 0 ? {} : { rules }),
    ...more,
  };
}

function isWeb(protocol: unknown): boolean {
  return protocol instanceof RegExp && protocol.source === "^https?$";
}
