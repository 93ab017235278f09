/** Reads the account, asks the plan, does what it says, until the plan is done. Holds no rule of its own: those are in core/close-plan.ts. */
import { quietText } from "../core/close-end.ts";
import { decide, recordRound, settleMs } from "../core/close-plan.ts";
import type { Decision, PlanPolicy, PlanState, Reading } from "../core/close-plan-types.ts";
import { counted } from "../core/counted.ts";
import { sleep } from "../platform/clock.ts";
import { createReachTeller } from "./close-io.ts";
import type { Verdict } from "./close-record.ts";
import { cancelResting, proveRests } from "./close-waits.ts";
import { runRound } from "./close-round.ts";
import type { RoundContext } from "./close-round.ts";
import type { SendAnswer } from "./venue/contract.ts";

export interface LoopContext extends RoundContext {
  readonly policy: PlanPolicy;
  /** Aborted: the round that runs is finished and the loop ends as at its deadline. */
  readonly stop: AbortSignal | undefined;
  readonly tell: (state: "closing" | "quiet", text: string) => void;
}

/** Snapshots written to the journal; the account changes with each fill, so a long close could write for ever. */
const MAX_SNAPSHOTS = 1_000;

export async function closeAccount(context: LoopContext, start: PlanState): Promise<Verdict> {
  const { clock, policy, stop, record, venue } = context;
  const snapshots = createSnapshotWriter(context);
  const tellReach = createReachTeller(context.tell);
  let state = start;
  for (;;) {
    const readFromMs = clock.monotonicMs();
    // Safe: rounds follow each other: each decides by what the one before has left.
    // oxlint-disable-next-line no-await-in-loop
    const ended = await proveRests(context, state.rests);
    // Begun after what is over was told: it shows all of that.
    const reading = { ...(await venue.read()), ended };
    // What it is told then is to close everything: no less can be asked of who shows nothing.
    const unseen = policy.goal.kind === "flat" ? await venue.closeUnseen?.() : undefined;
    if (unseen !== undefined) return unseenVerdict(unseen);
    const atMs = clock.monotonicMs();
    const limits = stop?.aborted === true ? { ...policy, deadlineMs: Math.min(policy.deadlineMs, atMs) } : policy;
    const step = decide(limits, state, reading, atMs, readFromMs);
    state = step.state;
    snapshots(reading, state);
    tellReach(reading.failures);
    record.rounds = state.round;
    record.calls = venue.calls;
    if (step.decision.kind === "done") {
      await cancelResting(context, state.rests);
      record.quietMs = state.flatAtMs === undefined ? 0 : atMs - state.flatAtMs;
      return step.decision;
    }
    // Safe: rounds follow each other: each decides by what the one before has left.
    // oxlint-disable-next-line no-await-in-loop
    state = await carryOut(context, state, reading, step.decision);
  }
}

/** Nobody saw the account, so nobody may call it flat, whatever the driver says. */
function unseenVerdict({ result, error }: SendAnswer): Verdict {
  const said = result.kind === "accepted" ? "says that it did" : `does not say that it did (${error ?? result.kind})`;
  return {
    outcome: "residual",
    reason: `the hook cannot show the account; it was told to close everything and ${said}; look at the account by hand`,
  };
}

async function carryOut(
  context: LoopContext,
  state: PlanState,
  reading: Reading,
  decision: Exclude<Decision, { kind: "done" }>,
): Promise<PlanState> {
  const { clock, policy, stop, tell } = context;
  if (decision.kind === "wait") {
    if (decision.quiet) tell("quiet", `${quietText(policy)}; looking again in ${Math.ceil(decision.ms)} ms`);
    // A timer may fire within the millisecond before its time, and then the look would come too early to count.
    await sleep(clock, Math.ceil(decision.ms) + 1, stop);
    return state;
  }
  const orders = decision.chains.reduce((sum, chain) => sum + chain.orders.length, 0);
  const seen =
    reading.positions === undefined ? "positions unreadable" : `${counted(reading.positions.length, "position")} open`;
  const symbols = new Set(decision.cancels.map(({ symbol }) => symbol)).size;
  const sends = `sends ${counted(orders, "order")} and cancels those of ${counted(symbols, "symbol")}`;
  tell("closing", `round ${state.round}: ${seen}; ${sends}`);
  const { sent, refusals } = await runRound(context, decision.chains, decision.cancels);
  const next = recordRound(state, sent, refusals);
  await sleep(clock, settleMs(next), stop);
  return next;
}

/** Writes what the account held to the journal whenever that changed. */
function createSnapshotWriter({ journal, record, clock }: RoundContext): (reading: Reading, state: PlanState) => void {
  let last = "";
  let left = MAX_SNAPSHOTS;
  return (reading, state) => {
    const holdings = record.noteReading(reading);
    const text = JSON.stringify(holdings);
    if (holdings === undefined || text === last || left === 0) return;
    last = text;
    left -= 1;
    const { round } = state;
    const maxOrders = state.allowance.max;
    journal.append({ kind: "snapshot", at: clock.wallTime().toISOString(), round, ...holdings, maxOrders });
  };
}
