/** What a schema error means for the person who wrote the file: the value, what is wrong with it, and the fix. */
import type * as z from "zod";
import { guessText, resembling } from "../../../core/nearest.ts";
import { cpuPercent, duration, size } from "../../../core/quantities.ts";
import { hideValue, showValue } from "./excerpt.ts";
import { fieldAt, unitOf, type Field, type Unit } from "./fields.ts";
import { valueAt } from "./value-at.ts";
import type { Path } from "./issues.ts";
import type { ConfigSource } from "./source.ts";

/** One message about one place; `side` tells whether the key or the value is wrong. */
export interface Finding {
  readonly path: Path;
  readonly side: "key" | "value";
  readonly message: string;
}

/** Keys of the contract that belong to later releases, by the path of their section; `*` stands for any name. */
const NOT_AVAILABLE: Readonly<Record<string, readonly string[]>> = {
  "": ["alerts"],
};

/** Keys that people reach for to write a secret down; their files are read instead. */
const SECRET_KEYS: Readonly<Record<string, string>> = {
  apiKey: "apiKeyFile",
  apiSecret: "apiSecretFile",
  secret: "apiSecretFile",
  passphrase: "passphraseFile",
  password: "passphraseFile",
};

/** The findings of one zod issue; an issue about unknown keys makes one finding for each. */
export function describeSchemaIssue(issue: z.core.$ZodIssue, source: ConfigSource): Finding[] {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({ path: [...path, key], side: "key", message: unknownKey(source, path, key) }));
  if (issue.code === "invalid_key") return [{ path, side: "key", message: issue.issues[0]?.message ?? issue.message }];
  const message = issue.code === "custom" ? hideValue(source, path, issue.message) : wrongValue(source, path, issue);
  return [{ path, side: "value", message }];
}

function unknownKey(source: ConfigSource, path: Path, key: string): string {
  const section = sectionOf(path);
  if (NOT_AVAILABLE[section]?.includes(key)) return `"${key}" is not available in this release; remove it`;
  const secret = SECRET_KEYS[key];
  if (key === "password" && path.at(-1) === "auth")
    return "a secret does not belong in this file; write it into one of its own and name that with passwordFile";
  if (secret !== undefined && section === "bots.*.emergency")
    return `a secret does not belong in this file; write it into one of its own and name that with ${secret}`;
  const known = Object.keys(fieldAt(source.root, path)?.properties ?? {});
  const guess = guessText(key, known);
  return `unknown key${guess === "" ? `; remove it (known here: ${known.join(", ")})` : guess}`;
}

function wrongValue(source: ConfigSource, path: Path, issue: z.core.$ZodIssue): string {
  const value = valueAt(source.root, path);
  const field = fieldAt(source.root, path);
  if (value === undefined && path.length > 0) {
    const what = issue.code === "invalid_union" ? orList(kindsOf(source, path)) : field?.description;
    return `is missing; add it${what === undefined ? "" : ` (${what})`}`;
  }
  if (value === null || value === undefined) return "is empty; give it a value or remove it";
  const shown = showValue(source, path);
  switch (issue.code) {
    case "invalid_type":
      return wrongType(issue.expected, value, shown, field);
    case "invalid_value":
      return wrongChoice(path, value, shown, issue.values.map(String));
    case "invalid_union":
      return wrongChoice(path, value, shown, kindsOf(source, path));
    case "too_small":
    case "too_big":
      return outOfRange(value, shown, field);
    case "invalid_format":
      return wrongFormat(issue, shown);
    // What is left is not used by this schema, or was answered above.
    case "not_multiple_of":
    case "invalid_element":
    case "invalid_key":
    case "unrecognized_keys":
    case "custom":
      return `${shown}: ${issue.message}`;
  }
}

const PARSERS: Readonly<Record<Unit, () => z.ZodType>> = { duration, size, cpu: cpuPercent };

function wrongType(expected: string, value: unknown, shown: string, field: Field | undefined): string {
  switch (expected) {
    case "string":
      return notText(value, shown, field);
    case "int":
    case "number":
      return `${shown} is not ${numberText(field)}; ${isNumeral(value) ? "remove the quotes" : "write one, without a unit"}`;
    case "boolean":
      return `${shown} is not a truth value; write true or false`;
    case "array":
      return `${shown} is not a list; write it as [one, two], or as lines that begin with "- "`;
    default:
      return `${shown} is not a map; write it as lines of "key: value"`;
  }
}

/** A number where text is expected: most often a duration without a unit. */
function notText(value: unknown, shown: string, field: Field | undefined): string {
  if (typeof value !== "number" && typeof value !== "boolean") return `${shown} is not text; write one value`;
  const unit = unitOf(field);
  const refusal = unit === undefined ? undefined : PARSERS[unit]().safeParse(String(value)).error?.issues[0]?.message;
  const written = shown === String(value) ? `"${shown}"` : shown;
  if (refusal !== undefined) return refusal.replace(`"${value}"`, () => written);
  return `${shown} is not text; put it in quotes${written === shown ? "" : `: ${written}`}`;
}

function isNumeral(value: unknown): boolean {
  return typeof value === "string" && /^[-+]?[0-9]+(?:\.[0-9]+)?$/.test(value);
}

/** JSON Schema states the bounds of safe integers where a schema states none. */
function boundsOf(field: Field | undefined): { minimum: number | undefined; maximum: number | undefined } {
  return { minimum: statedBound(field?.minimum), maximum: statedBound(field?.maximum) };
}

function statedBound(bound: number | undefined): number | undefined {
  return bound === undefined || Math.abs(bound) >= Number.MAX_SAFE_INTEGER ? undefined : bound;
}

function numberText(field: Field | undefined): string {
  const { minimum, maximum } = boundsOf(field);
  const range = minimum === undefined || maximum === undefined ? "" : ` from ${minimum} to ${maximum}`;
  return `a ${field?.type === "integer" ? "whole " : ""}number${range}`;
}

function wrongChoice(path: Path, value: unknown, shown: string, choices: readonly string[]): string {
  const guesses = choices.length === 1 ? [] : resembling(String(value), choices);
  const LIST_LIMIT = 12;
  const list = choices.length <= LIST_LIMIT ? `; write ${orList(choices)}` : "";
  const guess = guesses.length === 0 ? "" : `; did you mean ${orList(guesses)}?`;
  if (path.at(-1) === "exchange")
    return `${shown} is not an exchange that ccxt knows${guess === "" ? "; write its ccxt id, for example binanceusdm" : guess}`;
  return `${shown} is not known here${guess === "" ? list : guess}`;
}

function kindsOf(source: ConfigSource, path: Path): string[] {
  const options = fieldAt(source.root, path.slice(0, -1))?.oneOf ?? [];
  return options.map((option) => String(option.properties?.["kind"]?.const));
}

function outOfRange(value: unknown, shown: string, field: Field | undefined): string {
  if (value === "") return "is empty; write a value";
  if (typeof value === "string") return `${shown} is too long; write at most ${field?.maxLength} characters`;
  if (Array.isArray(value)) return "is an empty list; give it at least one entry";
  const { minimum, maximum } = boundsOf(field);
  if (minimum !== undefined && maximum !== undefined) return `${shown} is out of range; write ${numberText(field)}`;
  return `${shown} is out of range; write ${minimum === undefined ? `at most ${maximum}` : `at least ${minimum}`}`;
}

function wrongFormat(issue: z.core.$ZodIssueInvalidStringFormat, shown: string): string {
  // zod's own words begin with a capital; those of a schema in this repository do not, and name the fix.
  if (issue.message.startsWith("is ")) return `${shown} ${issue.message}`;
  if (!/^[A-Z]/.test(issue.message)) return `${shown}: ${issue.message}`;
  if (issue.format === "url") return `${shown} is not an address; write it as https://HOST or http://HOST:PORT`;
  return `${shown} does not have the form of a ${issue.format}`;
}

/** `path` with the names of bots and the positions of lists as `*`, so that it can be looked up. */
function sectionOf(path: Path): string {
  return path
    .map((step, index) => (typeof step === "number" || (index === 1 && path[0] === "bots") ? "*" : step))
    .join(".");
}

function orList(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}
