/** Compares the config in force with the one in the file: who comes, who goes, who changes how. Changes nothing. */
import {
  differences,
  valueUnder,
  type BotReload,
  type Difference,
  type KeyChange,
  type Meaning,
} from "../../../core/reload.ts";
import { effectiveConfig } from "../config/describe.ts";
import type { BotConfig, Config } from "../config/load.ts";
import { botRules, meaningOf, REPLACING, topRules, type Rule } from "./rules.ts";

/** Longest text of one value in the answer, characters. */
const VALUE_CHARS = 200;
/** Stands for a value that changed and may not be shown, so that both sides read the same. */
const HIDDEN = "(hidden)";

export interface BotChange {
  readonly name: string;
  readonly before: BotConfig | undefined;
  readonly after: BotConfig | undefined;
  readonly meaning: BotReload["meaning"];
  /** Its account or its user is another: it is let go wholly, and taken in anew. */
  readonly replaced: boolean;
  readonly changes: readonly KeyChange[];
}

export interface ReloadPlan {
  /** Of the supervisor itself. */
  readonly changes: readonly KeyChange[];
  readonly bots: readonly BotChange[];
}

/** `stale` says why what lives of a bot is not what its definition in the new config would start; `undefined` when it is. */
export function planReload(
  before: Config,
  after: Config,
  stale: (config: BotConfig) => KeyChange | undefined,
): ReloadPlan {
  const spelled = { before: effectiveConfig(before), after: effectiveConfig(after) };
  const tell = (difference: Difference, path: readonly string[], meaning: Meaning): KeyChange => ({
    key: difference.path.join("."),
    ...show(valueUnder(spelled.before, path), valueUnder(spelled.after, path)),
    meaning,
  });
  const changes = Object.entries<Rule>(topRules).flatMap(([key, { meaning }]) =>
    differences(valueUnder(before, [key]), valueUnder(after, [key]), [key]).map((each) =>
      tell(each, each.path, typeof meaning === "string" ? meaning : "supervisor"),
    ),
  );
  const names = [...new Set([...Object.keys(before.bots), ...Object.keys(after.bots)])];
  const bots = names.flatMap((name): readonly BotChange[] => {
    const [old, now] = [before.bots[name], after.bots[name]];
    const bare = { name, before: old, after: now, replaced: false, changes: [] };
    if (old === undefined) return [{ ...bare, meaning: "added" }];
    if (now === undefined) return [{ ...bare, meaning: "removed" }];
    return compareBots(old, now, (each, meaning) => tell(each, ["bots", name, ...each.path], meaning), stale(now));
  });
  return { changes, bots };
}

/**
 * What nobody closes any more once this change holds: of a bot that had an emergency section, when neither it nor another bot of
 * its account has one afterwards. `undefined`: there is somebody, or there never was.
 */
export function unclosedText(
  { before, after }: Pick<BotChange, "before" | "after">,
  config: Config,
): string | undefined {
  if (before?.emergency === undefined) return undefined;
  const { account } = before;
  if (Object.values(config.bots).some((bot) => bot.account === account && bot.emergency !== undefined))
    return undefined;
  const why =
    after === undefined ? "it goes, and its emergency section with it" : "it keeps no emergency section for it";
  return `${why}: what is open on account ${account} is closed by nobody any more; look at it at the venue`;
}

function compareBots(
  before: BotConfig,
  after: BotConfig,
  tell: (difference: Difference, meaning: Meaning) => KeyChange,
  stale: KeyChange | undefined,
): readonly BotChange[] {
  const found = differences(before, after);
  const told = found.map((each) => {
    // Safe: a difference of two bots begins with a key of one.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return tell(each, meaningOf(botRules[each.path[0] as keyof BotConfig], each, { before, after }));
  });
  const restarts = told.some(({ meaning }) => meaning === "restart");
  const changes = restarts || stale === undefined ? told : [...told, stale];
  if (changes.length === 0) return [];
  const replaced = found.some(({ path: [key] }) => REPLACING.some((each) => each === key));
  const meaning = changes.some((each) => each.meaning === "restart") ? "restart" : "in place";
  return [{ name: after.name, before, after, meaning, replaced, changes }];
}

function show(before: unknown, after: unknown): Pick<KeyChange, "before" | "after"> {
  const [a, b] = [textOf(before), textOf(after)];
  return a === b ? { before: HIDDEN, after: HIDDEN } : { before: a, after: b };
}

function textOf(value: unknown): string | null {
  if (value === undefined) return null;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= VALUE_CHARS ? text : `${text.slice(0, VALUE_CHARS)}…`;
}
