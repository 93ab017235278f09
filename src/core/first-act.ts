/** What a daemon that has just started does first about one bot: a lock outranks an order to close, and that one whatever else would be done. */
import type { Event, Trigger } from "./lifecycle-types.ts";
import type { CloseGoal } from "./close-goal.ts";
import { lacksOrder, type Lockout } from "./lockout.ts";

/** An order to close positions. */
export interface Order {
  readonly trigger: Trigger;
  readonly reason: string;
  /** What the close is to reach; default: a flat account. */
  readonly goal?: CloseGoal | undefined;
  /** An earlier daemon had taken it when it was killed: the bot counts as locked since then. */
  readonly taken?: true;
  /** Of one that was taken: the number of the start that it ended. */
  readonly generation?: number;
}

/** What an order that lies ready at the start means for one bot. */
export interface Meaning {
  /** It closes the bot's positions. */
  readonly emergency: Order | undefined;
  /** It closes nothing of it, and keeps it down for this reason. */
  readonly keptDown: string | undefined;
  /** It closes nothing of it; people are told. */
  readonly vain: Order | undefined;
}

/** What was taken has begun; another order is for bots that can be closed (`closable`), and changes nothing for others, as at any later time. */
export function meaningOf(order: Order | undefined, closable: boolean): Meaning {
  if (order?.taken === true || closable) return { emergency: order, keptDown: undefined, vain: undefined };
  return { emergency: undefined, keptDown: order?.trigger === "environment" ? order.reason : undefined, vain: order };
}

export type FirstAct =
  /** The lock is taken up; with `order`, what it asks for comes on top. */
  | {
      readonly kind: "lock";
      readonly found: Omit<Extract<Event, { kind: "lockFound" }>, "atMs">;
      readonly order: Order | undefined;
    }
  | { readonly kind: "emergency"; readonly order: Order }
  | { readonly kind: "keepDown"; readonly reason: string }
  | { readonly kind: "start" }
  | { readonly kind: "rest" };

/** What is known of the bot once what was left of its last start is looked at. */
export interface Situation extends Pick<Meaning, "emergency" | "keptDown"> {
  readonly lockout: Pick<Lockout, "outcome" | "trigger" | "reason" | "goal" | "acknowledgedAt"> | undefined;
  /** It is to run, as far as nothing keeps it from it. */
  readonly wanted: boolean;
  /** Processes of its last start live. */
  readonly leftovers: boolean;
}

export function firstAct({ emergency, keptDown, lockout, wanted, leftovers }: Situation): FirstAct {
  const locked = lockout ?? (emergency?.taken === true ? { ...emergency, outcome: null } : undefined);
  if (locked !== undefined) {
    const { outcome, trigger, reason, goal } = locked;
    const acknowledged = lockout?.acknowledgedAt !== undefined;
    const found = { outcome: outcome ?? undefined, trigger, reason, goal, acknowledged, wanted };
    // What is open by now, that close has left or never seen; and one that goes on may be to do less.
    const written = emergency?.taken === true && !lacksOrder({ outcome, goal }, emergency.goal);
    return { kind: "lock", found: { kind: "lockFound", ...found }, order: written ? undefined : emergency };
  }
  if (emergency !== undefined) return { kind: "emergency", order: emergency };
  // One that would neither run nor ran is not kept down by anything.
  if (keptDown !== undefined) return wanted || leftovers ? { kind: "keepDown", reason: keptDown } : { kind: "rest" };
  return { kind: wanted ? "start" : "rest" };
}
