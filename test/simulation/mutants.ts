/** Supervisors that are broken on purpose, each in one place: the simulation must find every one of them. */
import { beginAfresh } from "../../src/core/lifecycle-moves.ts";
import { onGone } from "../../src/core/lifecycle-stop.ts";
import { rearm } from "../../src/core/lifecycle-down.ts";
import { initialState, table } from "../../src/core/lifecycle.ts";
import type { Event, EventKind, Of, Policy, State, StateKind, Step } from "../../src/core/lifecycle-types.ts";
import { Loop, type Input } from "../../src/supervisor/runtime/loop.ts";
import { asItIs, type Variant } from "./variant.ts";

type Handler = (policy: Policy, state: State, event: Event) => Step;
interface Cell {
  readonly state: StateKind;
  readonly event: EventKind;
  readonly handler: Handler | "ignore";
}

export interface Mutant {
  readonly name: string;
  readonly variant?: Partial<Variant>;
  readonly cell?: Cell;
}

/** A loop that takes what an older generation says for the present one's word. */
class CredulousLoop extends Loop {
  override post(input: Input): void {
    super.post("generation" in input ? { ...input, generation: this.state.generation } : input);
  }
}

const withPolicy = (change: (policy: Policy) => Policy): Partial<Variant> => ({
  makeLoop: (policy, deps, before) => new Loop(change(policy), deps, before),
});
const cell = (state: StateKind, event: EventKind, handler: Handler | "ignore"): Pick<Mutant, "cell"> => ({
  cell: { state, event, handler },
});
const startNow: Handler = (policy, state, event) => beginAfresh(policy, state, event);
const believeIt: Handler = (policy, state, event) => {
  if (state.kind !== "stopping" || event.kind !== "survivors") return { state, effects: [] };
  return onGone(policy, state, { kind: "gone", atMs: event.atMs, generation: event.generation, roll: 0 });
};
const armAnyway: Handler = (policy, state, event) => {
  if (state.kind !== "locked" || event.kind !== "arm") return { state, effects: [] };
  return rearm(policy, state, { ...event, acceptPositions: true } satisfies Of<Event, "arm">);
};
const adoptAnew: Handler = (_policy, state) => ({
  state: { ...initialState, generation: state.generation },
  effects: [],
});

export const mutants: readonly Mutant[] = [
  {
    name: "a loop that accepts what an older generation says",
    variant: { makeLoop: (...args) => new CredulousLoop(...args) },
  },
  {
    name: "a loop that acts without a word in the journal",
    variant: { makeLoop: (policy, deps, before) => new Loop(policy, { ...deps, record: () => {} }, before) },
  },
  {
    name: "a budget that never counts",
    variant: withPolicy((p) => ({ ...p, budget: { ...p.budget, intensity: 1_000_000 } })),
  },
  { name: "a backoff that never waits", variant: withPolicy((p) => ({ ...p, backoff: { ...p.backoff, base: 0 } })) },
  { name: "a backoff that never grows", variant: withPolicy((p) => ({ ...p, backoff: { ...p.backoff, factor: 1 } })) },
  {
    name: "a jitter above the cap",
    variant: withPolicy((p) => ({ ...p, backoff: { ...p.backoff, cap: 2 * p.backoff.cap } })),
  },
  { name: "a lockout that is not forced to the disk", variant: { syncLockout: false } },
  { name: "a sweep that does not look for survivors", variant: { provesDeath: false } },
  { name: "a daemon that does not look for leftovers", variant: { findsLeftovers: false } },
  { name: "an end that is always taken for the end of all", variant: { proofIsAsked: false } },
  { name: "a lifecycle that starts while the sweep runs", ...cell("stopping", "start", startNow) },
  { name: "a lifecycle that starts beside what cannot be killed", ...cell("stuck", "start", startNow) },
  { name: "a lifecycle that starts while positions are closed", ...cell("recovering", "start", startNow) },
  { name: "a lifecycle that starts a locked bot", ...cell("locked", "start", startNow) },
  { name: "a lifecycle that takes survivors for gone", ...cell("stopping", "survivors", believeIt) },
  { name: "a lifecycle that arms an account that is not flat", ...cell("locked", "arm", armAnyway) },
  { name: "a lifecycle that forgets the lockout on disk", ...cell("stopped", "lockFound", "ignore") },
  { name: "a lifecycle that forgets the lockout while it ends leftovers", ...cell("stopping", "lockFound", "ignore") },
  { name: "a lifecycle that forgets an adopted bot", ...cell("stopped", "adopted", adoptAnew) },
  {
    name: "a lifecycle that starts a bot at once after an upgrade in its backoff",
    ...cell("stopped", "backoffFound", startNow),
  },
  { name: "a lifecycle that forgets a backoff in an upgrade", ...cell("stopped", "backoffFound", "ignore") },
  { name: "a lifecycle that does not hear an exit", ...cell("running", "exited", "ignore") },
  { name: "a lifecycle that does not hear the end of a close", ...cell("recovering", "actionEnded", "ignore") },
  { name: "a lifecycle that never ends a backoff", ...cell("backoff", "elapsed", "ignore") },
  { name: "a lifecycle that waits for ever for a start", ...cell("starting", "elapsed", "ignore") },
  { name: "a lifecycle that waits for ever for a stop", ...cell("stopping", "elapsed", "ignore") },
  { name: "a lifecycle that sweeps a stuck bot only once", ...cell("stuck", "elapsed", "ignore") },
  { name: "a lifecycle that never closes again by itself", ...cell("locked", "elapsed", "ignore") },
  { name: "a lifecycle that lets closeAfter pass in halted", ...cell("halted", "elapsed", "ignore") },
  { name: "a lifecycle that does not fence a running bot", ...cell("running", "emergency", "ignore") },
];

/** Runs `play` with the supervisor broken as `mutant` says, and mends it afterwards. */
export function withMutant<T>({ variant = {}, cell: broken }: Mutant, play: (variant: Variant) => T): T {
  const whole = { ...asItIs, ...variant };
  if (broken === undefined) return play(whole);
  // Safe: the table is a plain object at run time; one cell of it is exchanged and put back.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const row = table[broken.state] as unknown as Record<EventKind, Handler | "ignore">;
  const before = row[broken.event];
  row[broken.event] = broken.handler;
  try {
    return play(whole);
  } finally {
    row[broken.event] = before;
  }
}
