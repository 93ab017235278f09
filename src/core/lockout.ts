/** The lockout file `<stateDir>/bots/NAME/lock.json`: while it exists the bot does not start, whatever restarts. */
import * as z from "zod";
import { later } from "./later.ts";
import { closeGoalSchema, type CloseGoal } from "./close-goal.ts";
import { CLOSE_EXIT, closeJobSchema, type CloseOutcome } from "./close-job.ts";
import { versionOf } from "./file-version.ts";
import type { RungOutcome } from "./ladder.ts";
import type { Trigger } from "./lifecycle-types.ts";

const outcomeNames = Object.keys(CLOSE_EXIT);
const isOutcome = (text: string): text is CloseOutcome => outcomeNames.includes(text);

const LOCKOUT_VERSION = 1;

const lockoutSchema = later(() =>
  z.strictObject({
    version: z.literal(LOCKOUT_VERSION),
    bot: z.string(),
    account: z.string(),
    incident: z.string(),
    trigger: closeJobSchema.shape.trigger,
    reason: z.string(),
    /** What else asked for a close since, each once, in this order; absent: nothing. */
    later: closeJobSchema.shape.later,
    lockedAt: z.string(),
    /** How the close ended; null while it has not. */
    outcome: z
      .string()
      .transform((text, ctx): RungOutcome => {
        if (text === "failed" || text === "lockDamaged" || isOutcome(text)) return text;
        ctx.addIssue({ code: "custom", message: `"${text}" is not an outcome` });
        return z.NEVER;
      })
      .nullable(),
    endedAt: z.string().nullable(),
    /** What its close is to reach; absent: a flat account. */
    goal: closeGoalSchema.optional(),
    /** When a person ended the slow rounds of a close that did not end flat. */
    acknowledgedAt: z.string().optional(),
  }),
);
export type Lockout = z.output<typeof lockoutSchema>;

export type LockoutReading =
  | { readonly kind: "absent" }
  | { readonly kind: "locked"; readonly lockout: Lockout }
  /** Something is there that cannot be read: the bot is treated as locked, for it may well be. */
  | { readonly kind: "damaged"; readonly reason: string }
  /** As damaged, and left as it is: a newer release wrote it. */
  | { readonly kind: "newer"; readonly reason: string };

/** Reads the text of a lockout file; `undefined` is a file that does not exist. Never throws. */
export function readLockout(text: string | undefined): LockoutReading {
  if (text === undefined) return { kind: "absent" };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: "damaged", reason: "it is not JSON" };
  }
  const result = lockoutSchema.safeParse(parsed);
  if (result.success) return { kind: "locked", lockout: result.data };
  const version = versionOf(parsed);
  if (version > LOCKOUT_VERSION)
    return { kind: "newer", reason: `its format version ${version} is of a newer release` };
  return { kind: "damaged", reason: z.prettifyError(result.error) };
}

/**
 * Of the lockouts that several copies, or several names of an account's bot, hold: the one that holds. An older one that
 * ended flat must not hide one that did not, nor a close that was interrupted. `undefined` when there is none.
 */
export function gravestLockout(readings: readonly LockoutReading[]): Lockout | undefined {
  const found = readings.flatMap((reading) => (reading.kind === "locked" ? [reading.lockout] : []));
  return found.find(({ outcome }) => outcome === null) ?? found.find(({ outcome }) => outcome !== "flat") ?? found[0];
}

/** Its account is not proven closed, and is another one's by now: to go on with it would close the wrong account, and leave that one open. */
function isOpenElsewhere(reading: LockoutReading, account: string): boolean {
  return reading.kind === "locked" && reading.lockout.account !== account && reading.lockout.outcome !== "flat";
}

/** The lockout that holds of a bot with `account`, and one of another account that it had, and that is not proven closed. */
export function lockoutsOn(
  account: string,
  readings: readonly LockoutReading[],
): { readonly held: Lockout | undefined; readonly elsewhere: Lockout | undefined } {
  const { own = [], others = [] } = Object.groupBy(readings, (each) =>
    isOpenElsewhere(each, account) ? "others" : "own",
  );
  return { held: gravestLockout(own), elsewhere: gravestLockout(others) };
}

export function howItEnded({ outcome }: Lockout): string {
  return outcome === null ? "has not ended" : `ended ${outcome}`;
}

/** What people are told of it, of a bot that has account `now`. */
export function elsewhereText(lockout: Lockout, now: string): string {
  const { incident, account } = lockout;
  return `the close of account ${account} (incident ${incident}) ${howItEnded(lockout)}, and the config gives the bot account ${now} by now: neither is closed for it; give it back account ${account} and start the supervisor again, or look at that one and arm the bot`;
}

/** What asked for a close beside what opened the incident; there are no more triggers than fit. */
export function laterOf({ trigger: first, later: known = [] }: Lockout, trigger: Trigger): readonly Trigger[] {
  return trigger === first || known.includes(trigger) ? known : [...known, trigger];
}

/**
 * Whether an order that an earlier daemon had taken is not in the lockout: it was killed between the order's line in the journal and
 * the write. One without a goal only goes on with what the lockout says. Where nothing can be closed with, an order changes nothing.
 */
export function lacksOrder(
  { outcome, goal }: Pick<Lockout, "outcome" | "goal">,
  ordered: CloseGoal | undefined,
): boolean {
  if (ordered === undefined || outcome === "unsupported") return false;
  return outcome !== null || (ordered.kind === "flat" && goal?.kind !== "flat");
}
