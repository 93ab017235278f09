/** What the guard of an account must not forget over a restart: where its day began, that it lost too much, which countdowns run. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import * as z from "zod";
import { later } from "../../../core/later.ts";
import { dayStartSchema } from "../../../core/exposure.ts";
import { readTextIfExists, writeFileAtomic } from "../../../platform/files.ts";
import { accountFileName, type BotPlan } from "../bot-plan.ts";

const MAX_BYTES = 65_536;

const stateSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    dayStart: dayStartSchema.nullable(),
    /** UTC day, as days since 1970, whose loss closed the account; null: none did. */
    lossDay: z.int().nullable(),
    /** Scopes of the dead-man switch that were armed last and not disarmed since. */
    armed: z.array(z.string()),
  }),
);
export type WatchState = z.output<typeof stateSchema>;

const NOTHING: WatchState = { version: 1, dayStart: null, lossDay: null, armed: [] };

/** By account, since the limits are of the account, whatever the bot is called. */
function pathOf({ files, account }: BotPlan): string {
  return join(dirname(files.accountLock), `${accountFileName(account)}.watch.json`);
}

/** What was kept; nothing where there is none, or it cannot be read: the day then begins with the next reading. */
export function readWatchState(plan: BotPlan): WatchState {
  try {
    const path = pathOf(plan);
    // Most accounts have no limits, and the look costs less than an exception.
    const text = existsSync(path) ? readTextIfExists(path, MAX_BYTES) : undefined;
    return text === undefined ? NOTHING : stateSchema.parse(JSON.parse(text));
  } catch {
    return NOTHING;
  }
}

/** Throws when it cannot be written. */
export function keepWatchState(plan: BotPlan, state: WatchState): void {
  writeFileAtomic(pathOf(plan), `${JSON.stringify(state)}\n`);
}
