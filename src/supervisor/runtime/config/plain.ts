/**
 * Accepts a config that is plainly right, as the schema would, without loading schema or YAML parser: together they cost
 * more than all the rest of a start. It refuses nothing: whatever is not plainly right goes to load.ts, which knows every
 * rule and says what is wrong.
 */
import { readCron } from "../../../core/cron.ts";
import { parseDuration } from "../../../core/duration.ts";
import { parseListen } from "../../../core/listen.ts";
import { postgresUrlError } from "../../../core/postgres-url.ts";
import { redisUrlError } from "../../../core/redis-url.ts";
import { parseCpuPercent, parseSize } from "../../../core/size.ts";
import { checkBackups } from "./backup-rules.ts";
import { checkDriver, checkTestnetKeys } from "./emergency-rules.ts";
import { isMap, map } from "./outline.ts";
import {
  checkAccounts,
  checkBot,
  checkLimits,
  checkListener,
  checkOrder,
  checkProbe,
  checkRestart,
  type Report,
} from "./rules.ts";

/** What a value of the config must be. */
export interface Shape {
  readonly is:
    | "text"
    | "number"
    | "flag"
    | "one"
    | "duration"
    | "size"
    | "cpu"
    | "list"
    | "record"
    | "map"
    | "kinds"
    | "either"
    | "ask";
  readonly optional?: true;
  /** It may be null. */
  readonly nullable?: true;
  /** What stands for a value that is not written, in the form of the program. */
  readonly default?: unknown;
  /** Of `one`: the choices. */
  readonly of?: readonly unknown[];
  /** Of `list` and `record`. */
  readonly item?: Shape;
  /** Of `record`. */
  readonly key?: Shape;
  /** Of `map`: its keys; of `kinds`: the map for each value of `kind`. */
  readonly keys?: Readonly<Record<string, Shape>>;
  /** Of `either`: texts and choices, one of which it must be. */
  readonly any?: readonly Shape[];
  /** Of a text; every one must match. */
  readonly patterns?: readonly string[];
  /** Of a text or list its length, of a number its value; both belong to it. */
  readonly min?: number;
  readonly max?: number;
  /** Of a number: a safe integer. */
  readonly whole?: true;
  /** Names of `RULES`. */
  readonly rules?: readonly string[];
}

class NotPlain extends Error {}

const byReport =
  (rule: (value: unknown, to: Report) => void) =>
  (value: unknown): boolean => {
    let right = true;
    rule(value, { addIssue: () => void (right = false) });
    return right;
  };

/** Rules that the structure of the schema does not tell, by the name that the schema gives them (core/tag.ts). */
const RULES: Readonly<Record<string, (value: unknown) => boolean>> = {
  positive: (value) => typeof value === "number" && value > 0,
  "first word": (value) => Array.isArray(value) && value[0] !== "",
  "output size": (value) => typeof value === "number" && value >= 64 * 1024,
  "memory size": (value) => typeof value === "number" && value >= 1024 ** 2,
  listen: (value) => typeof value === "string" && parseListen(value) !== undefined,
  "plain url": (value) => typeof value === "string" && PLAIN_URL.test(value) && URL.canParse(value),
  "body of GET": (value) => map(value)["method"] === "GET" || map(value)["expectBody"] === undefined,
  "some resource": (value) => ["maxRss", "maxCpu", "maxOpenFiles"].some((key) => map(value)[key] !== undefined),
  accounts: byReport(checkAccounts),
  backups: byReport(checkBackups),
  bot: byReport(checkBot),
  driver: byReport(checkDriver),
  limits: byReport(checkLimits),
  listener: byReport(checkListener),
  order: byReport(checkOrder),
  probe: byReport(checkProbe),
  restart: byReport(checkRestart),
  testnet: byReport(checkTestnetKeys),
  "store timeout": (value) => typeof value === "number" && value >= 1_000,
  incremental: (value) => typeof value === "number" && value >= 60_000,
  schedule: (value) => typeof value === "string" && readCron(value) !== undefined,
  time: (value) => typeof value === "string" && isTime(value),
  "redis url": (value) => typeof value === "string" && redisUrlError(value) === undefined,
  "postgres url": (value) => typeof value === "string" && postgresUrlError(value) === undefined,
  "preflight period": (value) => typeof value === "number" && value >= 60_000,
};

/** A time as this program writes it. */
function isTime(text: string): boolean {
  const atMs = Date.parse(text);
  return !Number.isNaN(atMs) && new Date(atMs).toISOString() === text;
}

/** Addresses about which nobody can be of two minds. */
const PLAIN_URL = /^https?:\/\/(?:[a-z][a-z0-9.-]*[a-z]|\d{1,3}(?:\.\d{1,3}){3})(?::[1-9]\d{0,4})?(?:\/[\w./-]*)?$/;

/** The value that the schema of `shape` would make of `value`; `undefined` where the schema must be asked. */
export function plainValue(shape: Shape, value: unknown): { readonly value: unknown } | undefined {
  try {
    return { value: made(shape, value) };
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

function made(shape: Shape, value: unknown): unknown {
  if (value === null && shape.nullable === true) return null;
  const result = madeBare(shape, value);
  if (shape.rules?.every((name) => RULES[name]?.(result) === true) === false) throw new NotPlain();
  return result;
}

function madeBare(shape: Shape, value: unknown): unknown {
  switch (shape.is) {
    case "text":
      return typeof value === "string" && fits(shape, value.length) && matches(shape, value) ? value : refuse();
    case "number":
      if (typeof value !== "number" || !Number.isFinite(value) || !fits(shape, value)) return refuse();
      return shape.whole === true && !Number.isSafeInteger(value) ? refuse() : value;
    case "flag":
      return typeof value === "boolean" ? value : refuse();
    case "one":
      return shape.of?.includes(value) === true ? value : refuse();
    case "duration":
      return (typeof value === "string" ? parseDuration(value) : undefined) ?? refuse();
    case "size":
      return (typeof value === "string" ? parseSize(value) : undefined) ?? refuse();
    case "cpu":
      return (typeof value === "string" ? parseCpuPercent(value) : undefined) ?? refuse();
    case "list":
      return Array.isArray(value) && fits(shape, value.length)
        ? value.map((each) => made(shape.item ?? refuse(), each))
        : refuse();
    case "record":
      return isMap(value)
        ? Object.fromEntries(
            Object.entries(value).map(([key, each]) => [
              made(shape.key ?? refuse(), key),
              made(shape.item ?? refuse(), each),
            ]),
          )
        : refuse();
    case "map":
      return madeMap(shape.keys ?? {}, isMap(value) ? map(value) : refuse());
    case "kinds": {
      const kind = map(value)["kind"];
      const chosen = typeof kind === "string" && Object.hasOwn(shape.keys ?? {}, kind) ? shape.keys?.[kind] : undefined;
      return made(chosen ?? refuse(), value);
    }
    case "either":
      return shape.any?.some((each) => plainValue(each, value) !== undefined) === true ? value : refuse();
    case "ask":
      return refuse();
  }
}

function madeMap(keys: Readonly<Record<string, Shape>>, given: Readonly<Record<string, unknown>>): unknown {
  const result: Record<string, unknown> = {};
  let known = 0;
  for (const [key, shape] of Object.entries(keys)) {
    if (Object.hasOwn(given, key)) {
      known += 1;
      result[key] = made(shape, given[key]);
    } else if (shape.default !== undefined) result[key] = copyOf(shape.default);
    else if (shape.optional !== true) refuse();
  }
  // A key that the schema does not know.
  return known === Object.keys(given).length ? result : refuse();
}

/** Nobody may change the table through what it has given. */
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf);
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, copyOf(each)]));
}

function fits({ min, max }: Shape, size: number): boolean {
  return (min === undefined || size >= min) && (max === undefined || size <= max);
}

const compiled = new Map<string, RegExp>();

function matches({ patterns }: Shape, text: string): boolean {
  return (
    patterns?.every((source) => {
      let pattern = compiled.get(source);
      if (pattern === undefined) compiled.set(source, (pattern = new RegExp(source)));
      return pattern.test(text);
    }) ?? true
  );
}

function refuse(): never {
  throw new NotPlain();
}
