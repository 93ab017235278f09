/** Whatever a hook answers, and whatever became of its orders: what we ask for never opens and never turns a position. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HookVenue } from "../../src/actions/venue/hook-venue.ts";
import type { HookPort, HookReply } from "../../src/actions/venue/hook-venue.ts";
import type { Sent } from "../../src/core/close-budget.ts";
import { HOOK_TIMEOUT_MS } from "../../src/core/close-hook.ts";
import type { HookRequest } from "../../src/core/close-hook.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import { amountsOf, endsChain, positionKey } from "../../src/core/close-orders.ts";
import type { CloseChain, CloseOrder } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { Clock } from "../../src/platform/clock.ts";
import { ModelVenue } from "../core/model-venue.ts";

const MAX_STEPS = 5_000;

type Lie =
  | { readonly kind: "none" }
  /** Nothing comes back; of a close, it was executed or not, or is later. */
  | { readonly kind: "lost"; readonly executed: boolean }
  | { readonly kind: "late"; readonly ms: number }
  | { readonly kind: "text"; readonly text: string }
  /** The same answer twice, one after the other. */
  | { readonly kind: "doubled" }
  /** What it says is the contrary of what it did. */
  | { readonly kind: "claimsNo" }
  | { readonly kind: "claimsYes" };

const LIES: readonly string[] = [
  "",
  "null",
  "[]",
  "{}",
  '{"ok":true}',
  '{"ok":false}',
  '{"ok":true,"placed":"no"}',
  '{"ok":false,"placed":"yes"}',
  '{"ok":true,"positions":[],"orders":null}',
  '{"ok":false,"error":{"class":"throttled"}}',
  '{"ok":false,"placed":"no","error":{"class":"size"}}',
  '{"ok":false,"placed":"no","error":{"class":"positionSide"}}',
  '{"ok":true,"positions":[{"symbol":"S0","side":"long","amount":99}],"orders":[]}',
  '{"ok":true,"positions":[{"symbol":"S0","side":"short","amount":"7.5"}],"orders":[]}',
  "<html>",
];
const lie: fc.Arbitrary<Lie> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Lie>({ kind: "none" }) },
  fc.record({ kind: fc.constant("lost" as const), executed: fc.boolean() }),
  fc.record({ kind: fc.constant("late" as const), ms: fc.integer({ min: 1, max: HOOK_TIMEOUT_MS }) }),
  fc.record({ kind: fc.constant("text" as const), text: fc.constantFrom(...LIES) }),
  fc.constant<Lie>({ kind: "doubled" }),
  fc.constant<Lie>({ kind: "claimsNo" }),
  fc.constant<Lie>({ kind: "claimsYes" }),
);
const legs = fc.array(fc.record({ amount: fc.integer({ min: 1, max: 100 }), long: fc.boolean() }), {
  minLength: 1,
  maxLength: 3,
});

/** A clock on which every wait is over at once. */
function jumpingClock(): Clock & { nowMs: number } {
  return {
    nowMs: 0,
    monotonicMs() {
      return this.nowMs;
    },
    wallTime() {
      return new Date(1_700_000_000_000 + this.nowMs);
    },
    after(delayMs, callback) {
      let live = true;
      queueMicrotask(() => {
        if (!live) return;
        this.nowMs += delayMs;
        callback();
      });
      return () => void (live = false);
    },
  };
}

test("HookVenue asks for nothing that opens or turns a position, whatever the hook answers", async () => {
  await fc.assert(
    fc.asyncProperty(fc.boolean(), legs, fc.array(lie, { maxLength: 20 }), async (hedge, seeded, lies) => {
      const clock = jumpingClock();
      const model = new ModelVenue(
        hedge,
        seeded.map(({ amount, long }, n) => ({
          symbol: `S${n}`,
          amount: long ? amount : -amount,
          hiddenMax: 0,
          band: 0,
        })),
      );
      const breaches: string[] = [];
      const asked: HookRequest[] = [];
      const port = lyingPort(model, lies.values(), clock, asked);
      const access = { driver: "exec", exchange: "exec", symbols: [], timeoutMs: 1, command: ["x"], cwd: "/", env: {} };
      const options = { clock, signal: new AbortController().signal, onFailure: () => undefined };
      const venue = new HookVenue({ ...access, driver: "exec" }, "abc123", options, port);
      expect(await closeWith(venue, clock, asked, breaches)).toMatchObject({ kind: "done" });
      model.advance(clock.nowMs + HOOK_TIMEOUT_MS);
      expect([...breaches, ...model.breaches]).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

/** The loop of the close without its journal. */
async function closeWith(
  venue: HookVenue,
  clock: Clock & { nowMs: number },
  asked: HookRequest[],
  breaches: string[],
): Promise<unknown> {
  const policy = {
    incident: "abc123",
    run: "run001",
    goal: FLAT,
    scope: [],
    deadlineMs: 120_000,
    recvWindowMs: venue.orderWindowMs,
  };
  let state = startPlan();
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const readFromMs = clock.nowMs;
    // Safe: rounds follow each other.
    // oxlint-disable-next-line no-await-in-loop
    const reading = await venue.read();
    clock.nowMs += 20;
    const step = decide(policy, state, reading, clock.nowMs, readFromMs);
    state = step.state;
    if (step.decision.kind === "done") return step.decision;
    if (step.decision.kind === "wait") {
      clock.nowMs += step.decision.ms + 1;
      continue;
    }
    asked.length = 0;
    const sent: Sent[] = [];
    for (const cancel of step.decision.cancels) {
      // Safe: one after the other.
      // oxlint-disable-next-line no-await-in-loop
      await venue.cancel(cancel);
    }
    for (const chain of step.decision.chains) {
      // Safe: one after the other.
      // oxlint-disable-next-line no-await-in-loop
      sent.push(...(await sendChain(venue, chain, clock)));
    }
    checkRound(asked, amountsOf(reading.positions ?? []), breaches);
    state = recordRound(state, sent);
    clock.nowMs += settleMs(state);
  }
  return "did not end";
}

async function sendChain(venue: HookVenue, chain: CloseChain, clock: Clock): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (const order of chain.orders) {
    const sentAtMs = clock.monotonicMs();
    // Safe: one after the other.
    // oxlint-disable-next-line no-await-in-loop
    const { result } = await venue.send(order);
    sent.push({ order, result, sentAtMs });
    if (endsChain(order, result)) break;
  }
  return sent;
}

/** What one round asks for only reduces, and together it is never more than the position as it was read. */
function checkRound(asked: readonly HookRequest[], held: ReadonlyMap<string, number>, breaches: string[]): void {
  const sums = new Map<string, number>();
  for (const { op, symbol = "", positionSide = "", side, amount = 0, reduceOnly } of asked) {
    if (op !== "close") continue;
    if (!reduceOnly || (side === "sell") !== (positionSide === "long")) breaches.push(`${symbol} ${side} may open`);
    const key = positionKey(symbol, positionSide);
    sums.set(key, (sums.get(key) ?? 0) + amount);
  }
  for (const [key, sum] of sums)
    if (sum > (held.get(key) ?? 0) + 1e-9) breaches.push(`${sum} of ${key}, of which ${held.get(key) ?? 0} was read`);
}

function lyingPort(
  model: ModelVenue,
  lies: IterableIterator<Lie>,
  clock: { nowMs: number },
  asked: HookRequest[],
): HookPort {
  return async (request) => {
    asked.push(request);
    model.advance(clock.nowMs);
    const next = lies.next();
    const bent: Lie = next.done === true ? { kind: "none" } : next.value;
    clock.nowMs += bent.kind === "lost" || bent.kind === "late" ? HOOK_TIMEOUT_MS : 20;
    return bend(model, request, bent, clock.nowMs);
  };
}

function bend(model: ModelVenue, request: HookRequest, bent: Lie, nowMs: number): HookReply {
  const none: HookReply = { kind: "none", why: "lost" };
  switch (bent.kind) {
    case "none":
      return { kind: "text", text: perform(model, request, nowMs) };
    case "doubled": {
      const text = perform(model, request, nowMs);
      return { kind: "text", text: `${text}\n${text}` };
    }
    case "lost":
      if (bent.executed) perform(model, request, nowMs);
      return none;
    case "late":
      if (request.op === "close") model.send(orderOf(request), { kind: "late", ms: bent.ms }, nowMs - HOOK_TIMEOUT_MS);
      return none;
    case "text":
      return { kind: "text", text: bent.text };
    case "claimsNo":
      perform(model, request, nowMs);
      return { kind: "text", text: '{"ok":false,"placed":"no","error":{"class":"rejected"}}' };
    case "claimsYes":
      return { kind: "text", text: '{"ok":true,"placed":"yes","filled":3}' };
  }
}

/** What an honest hook does. */
function perform(model: ModelVenue, request: HookRequest, nowMs: number): string {
  switch (request.op) {
    case "preflight":
      return '{"ok":true}';
    case "snapshot": {
      const { positions, orders = [], triggers = [] } = model.read("none");
      const rows = positions?.map(({ rules, markPrice, ...position }) => ({
        ...position,
        ...rules,
        maxAmount: rules.maxMarketAmount,
        markPrice,
      }));
      return JSON.stringify({
        ok: true,
        positions: rows,
        orders: [...orders, ...triggers.map((order) => ({ ...order, trigger: true }))],
      });
    }
    case "cancel":
      model.cancel(request.symbol ?? "", request.trigger === true, true);
      return '{"ok":true}';
    case "close": {
      const result = model.send(orderOf(request), { kind: "none" }, nowMs);
      if (result.kind === "accepted") return JSON.stringify({ ok: true, placed: "yes", filled: result.filled });
      const name = result.kind === "rejected" ? result.why : result.kind;
      return JSON.stringify({ ok: false, placed: "no", error: { class: name } });
    }
  }
}

function orderOf(request: HookRequest): CloseOrder {
  const {
    id,
    symbol = "",
    side = "buy",
    positionSide = "long",
    amount = 0,
    hedged = false,
    limitPrice,
    reduceOnly,
  } = request;
  const rest = { round: 0, seq: 0, last: [], rung: 0, probe: false, marginMode: undefined, limitPrice };
  return { id, symbol, side, positionSide, amount, hedged, reduceOnly, ...rest };
}
