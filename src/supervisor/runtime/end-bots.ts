/** The daemon ends: its bots are stopped politely, and a close that is under way is waited for. */
import { longestStopMs } from "../../core/lifecycle-moves.ts";
import type { Policy } from "../../core/lifecycle-types.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import type { Bot } from "./bot.ts";
import type { Loop } from "./loop.ts";
import { stopInOrder } from "./start-order.ts";

/** Time beyond the bots' own timeouts that the daemon waits for them, ms. */
const MARGIN_MS = 15_000;
/** Time between two looks whether a close has its worker, ms. */
const LOOK_MS = 50;

export interface EndOfBots {
  readonly clock: Clock;
  /** Resolves when somebody asks a second time: closes that are under way are left to their workers. */
  readonly hurried: Promise<void>;
  readonly say: (level: "warn", text: string) => void;
}

/** Resolves when every bot is down, and every close has ended or has a worker that goes on without us. */
export async function endBots(bots: readonly Bot[], end: EndOfBots): Promise<void> {
  await stopInOrder(bots, stopBot, end.hurried);
  await Promise.all(bots.map((bot) => untilClosed(bot, end)));
}

interface Stoppable {
  readonly loop: Loop;
  readonly plan: { readonly policy: Pick<Policy, "stopTimeout"> };
}

/** Resolves when the bot is down: also one that asks for more time is not left behind. */
export async function stopBot({ loop, plan }: Stoppable): Promise<void> {
  loop.post({ kind: "stop", why: "stopped together with the supervisor" });
  const down = (): boolean => !["starting", "running", "stopping"].includes(loop.state.kind);
  await loop.settles(down, longestStopMs(plan.policy) + MARGIN_MS);
}

async function untilClosed({ loop, plan, emergency }: Bot, { clock, hurried, say }: EndOfBots): Promise<void> {
  if (loop.state.kind !== "recovering") return;
  say("warn", `waiting for the close of ${plan.name}; a second signal leaves it to its worker`);
  const ended = loop.settles((state) => state.kind !== "recovering", plan.config.emergency?.timeout ?? 0);
  await Promise.race([ended, hurried]);
  const endMs = clock.monotonicMs() + MARGIN_MS;
  while (loop.state.kind === "recovering" && !emergency.working && clock.monotonicMs() < endMs)
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, LOOK_MS);
}
