/** The config in force, in the config's own spelling: every default filled in, secrets left out. */
import { stringify } from "yaml";
import { formatDuration } from "../../../core/duration.ts";
import { childField, configField, optionField, unitOf, type Field } from "./fields.ts";
import type { Path } from "./issues.ts";
import type { Config } from "./load.ts";
import { isSecret, withoutPassword } from "./excerpt.ts";

/** Stands in place of values that may be secrets: variables and headers. */
const HIDDEN = "***";

/** Names of files and variables that hold secrets are no secrets themselves. */
const NAMES_ONLY = /^(?:apiKey|apiSecret|passphrase|password)(?:File|Env)$/;

/** `config` as an object in config spelling, for JSON. */
export function effectiveConfig(config: Config): unknown {
  return spell(configField(), config, []);
}

/** `config` as YAML, for people. */
export function describeConfig(config: Config): string {
  return stringify(effectiveConfig(config), { lineWidth: 0 }).trimEnd();
}

/** `value` as the file would say it; fields that the schema does not know are left out. */
function spell(field: Field | undefined, value: unknown, path: Path): unknown {
  if (field === undefined || value === undefined) return undefined;
  if (Array.isArray(value))
    return value.map((item, index) => spell(childField(field, index, value), item, [...path, index]));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(
      inOrder(optionField(field, value), Object.entries(value))
        .map(([key, item]) => [key, spell(childField(field, key, value), item, [...path, key])] as const)
        .filter(([, item]) => item !== undefined),
    );
  if (isSecret(path) && !NAMES_ONLY.test(String(path.at(-1)))) return HIDDEN;
  if (typeof value === "string") return withoutPassword(value);
  return typeof value === "number" ? spellNumber(field, value) : value;
}

/** `entries` as the schema orders them, a probe's kind first; those it does not order stay as they are. */
function inOrder(field: Field | undefined, entries: [string, unknown][]): [string, unknown][] {
  const order = ["kind", ...Object.keys(field?.properties ?? {})];
  return entries.toSorted(([a], [b]) => order.indexOf(a) - order.indexOf(b));
}

function spellNumber(field: Field, value: number): string | number {
  switch (unitOf(field)) {
    case "duration":
      return value === 0 ? "0s" : formatDuration(value);
    case "size":
      return spellSize(value);
    case "cpu":
      return `${value}%`;
    case undefined:
      return value;
  }
}

/** The largest unit that spells `bytes` exactly. */
function spellSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (unit < units.length - 1 && value > 0 && value % 1_024 === 0) {
    value /= 1_024;
    unit += 1;
  }
  return `${value}${units[unit]}`;
}
