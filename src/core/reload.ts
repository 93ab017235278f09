/** What a reload changes: the places where two configs differ, what each means for a living bot, and the answer that tells it. */
import * as z from "zod";
import { later } from "./later.ts";

/** `supervisor`: nothing of the reload is done, since the daemon itself would have to be restarted. */
const MEANINGS = ["in place", "restart", "supervisor"] as const;
export type Meaning = (typeof MEANINGS)[number];

export interface Difference {
  /** Keys that lead to it; a probe stands under its name. */
  readonly path: readonly string[];
  /** `undefined`: it is not there. */
  readonly before: unknown;
  readonly after: unknown;
}

/** Every place where two values differ, as deep as both are maps; a list of named things counts as a map, any other is one value. */
export function differences(before: unknown, after: unknown, path: readonly string[] = []): readonly Difference[] {
  const [a, b] = [asMap(before), asMap(after)];
  if (a === undefined || b === undefined) return isSame(before, after) ? [] : [{ path, before, after }];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return keys.flatMap((key) => differences(a[key], b[key], [...path, key]));
}

/** The value at `path`, where a list of named things counts as a map; `undefined` when there is none. */
export function valueUnder(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, key) => asMap(at)?.[key], value);
}

/** Maps do not have an order. */
function isSame(before: unknown, after: unknown): boolean {
  return JSON.stringify(inOrder(before)) === JSON.stringify(inOrder(after));
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  const map = asMap(value);
  if (map === undefined) return value;
  return Object.entries(map)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => [key, inOrder(item)]);
}

function asMap(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (Array.isArray(value)) {
    const named = value.map((item: unknown): readonly [string, unknown] | undefined => {
      const name = nameOf(item);
      return name === undefined ? undefined : [name, item];
    });
    const whole = named.filter((entry) => entry !== undefined);
    return whole.length === value.length && value.length > 0 ? Object.fromEntries(whole) : emptyOf(value);
  }
  // Safe: an object that is no list is read by its own keys only.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
}

/** A list of nothing is a map of nothing only beside a map. */
function emptyOf(list: readonly unknown[]): Readonly<Record<string, unknown>> | undefined {
  return list.length === 0 ? {} : undefined;
}

function nameOf(item: unknown): string | undefined {
  return typeof item === "object" && item !== null && "name" in item && typeof item.name === "string"
    ? item.name
    : undefined;
}

const changeSchema = later(() =>
  z.strictObject({
    key: z.string().describe("Keys joined by dots; a probe stands under its name."),
    before: z.string().nullable().describe("As the config would say it, secrets hidden; null: it was not there."),
    after: z.string().nullable(),
    meaning: z.enum(MEANINGS).describe("supervisor: refused, the daemon would have to be restarted."),
  }),
);
export type KeyChange = z.output<typeof changeSchema>;

const botReloadSchema = later(() =>
  z.strictObject({
    name: z.string(),
    meaning: z.enum(["added", "removed", "restart", "in place"]),
    changes: z.array(changeSchema),
    state: z
      .string()
      .nullable()
      .describe("State of the bot when the reload was done; null: it is not there, or nothing was done."),
    note: z.string().nullable().describe("What a person should know."),
    error: z.string().nullable().describe("Why this bot is not as the config says."),
  }),
);
export type BotReload = z.output<typeof botReloadSchema>;

/** What `POST /v1/reload` answers and `supervisor reload --json` prints. */
export const reloadAnswerSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    file: z.string(),
    applied: z.boolean(),
    refusal: z.string().nullable().describe("Why it cannot be applied as it is."),
    changes: z.array(changeSchema).describe("Of the supervisor itself."),
    bots: z.array(botReloadSchema).describe("Those that differ."),
    warnings: z.array(z.string()),
  }),
);
export type ReloadAnswer = z.output<typeof reloadAnswerSchema>;

/** Most keys of one bot that the summary names. */
const SUMMARY_KEYS = 5;

/** One line: "momentum restart (command), scalper added"; "nothing" when nothing differs. */
export function reloadSummary({ changes, bots }: Pick<ReloadAnswer, "changes" | "bots">): string {
  const own = changes.map(({ key, meaning }) => `${key} ${meaning}`);
  const parts = [...own, ...bots.map((bot) => `${bot.name} ${bot.meaning}${keysOf(bot)}`)];
  return parts.length === 0 ? "nothing" : parts.join(", ");
}

function keysOf({ changes }: BotReload): string {
  if (changes.length === 0) return "";
  const named = changes.slice(0, SUMMARY_KEYS).map(({ key }) => key);
  const more = changes.length - named.length;
  return ` (${named.join(", ")}${more === 0 ? "" : ` and ${more} more`})`;
}
