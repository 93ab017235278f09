/** What a plan or an arm has seen of a locked account, `<stateDir>/bots/NAME/look.json`: told to people, and nothing is decided by it. */
import * as z from "zod";
import type { CloseReport } from "./close-job.ts";
import { later } from "./later.ts";
import type { Lockout } from "./lockout.ts";

export const accountLookSchema = later(() =>
  z.object({
    version: z.literal(1),
    /** The lockout that held then. */
    incident: z.string(),
    at: z.iso.datetime(),
    positions: z.int().min(0),
    orders: z.int().min(0),
    loans: z.int().min(0),
  }),
);
export type AccountLook = z.output<typeof accountLookSchema>;

// Times compare as texts: all are written by toISOString().

/** Outcomes of a plan for which all of the account was read. */
const WHOLE: ReadonlySet<CloseReport["outcome"]> = new Set(["flat", "planNotEmpty", "cancelled", "reduced"]);

/** What a plan that began at `startedAt` saw; `undefined` where it did not see all of the account, or may speak of before the end of the close. */
export function lookOf(
  { outcome, startedAt, endedAt, after }: CloseReport,
  lockout: Pick<Lockout, "incident" | "endedAt">,
): AccountLook | undefined {
  if (!WHOLE.has(outcome) || after === null || lockout.endedAt === null) return undefined;
  if (startedAt < lockout.endedAt) return undefined;
  const { positions, orders, loans = [] } = after;
  const counts = { positions: positions.length, orders, loans: loans.length };
  return { version: 1, incident: lockout.incident, at: endedAt ?? startedAt, ...counts };
}

/** Whether it says more of the account than the end of the lockout's close. */
export function isNewer({ incident, at }: AccountLook, lockout: Pick<Lockout, "incident" | "endedAt">): boolean {
  return incident === lockout.incident && lockout.endedAt !== null && at >= lockout.endedAt;
}

/** Whether something was open. */
export function isOpen({ positions, orders, loans }: Pick<AccountLook, "positions" | "orders" | "loans">): boolean {
  return positions + orders + loans > 0;
}
