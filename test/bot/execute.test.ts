/** `execute`: retries, budget, breaker, level, abort and fallback, on a virtual clock. */
import { expect, test } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { Budget } from "../../src/bot/budget.ts";
import { ResilienceError } from "../../src/bot/errors.ts";
import {
  createExecutor,
  type Executor,
  type ExecutorWiring,
  type OrderOptions,
  type OrderRequest,
} from "../../src/bot/execute.ts";
import type { LevelProposal } from "../../src/bot/ports.ts";
import type { KnownIntent } from "../../src/core/order-intent.ts";
import { memoryLog, named, World } from "./order-sim.ts";

function rig(wiring: ExecutorWiring = {}) {
  const world = new World(1);
  const machine = { ...world.machine(), random: () => 0.5 };
  const proposals: LevelProposal[] = [];
  const disk = new Map<string, KnownIntent>();
  const executor = createExecutor({
    machine,
    budget: new Budget({}, machine),
    propose: (proposal) => proposals.push(proposal),
    intents: memoryLog(disk, () => Promise.resolve()),
    reader: { find: () => Promise.resolve(undefined) },
    scope: "test",
    ...wiring,
  });
  /** What came of it, with the time it took. */
  const ended = async (call: Promise<unknown>): Promise<unknown> => {
    const startMs = world.ms;
    const end = call.then(
      (value) => ({ value, ms: world.ms - startMs }),
      (error: unknown) => ({ error, ms: world.ms - startMs }),
    );
    await world.play(end);
    return end;
  };
  return { world, machine, executor, proposals, disk, ended };
}

/** Fails with each of these in turn, then answers. */
function service(...errors: readonly string[]) {
  const left = [...errors];
  const calls = { count: 0 };
  const op = async (): Promise<string> => {
    calls.count += 1;
    const next = left.shift();
    if (next !== undefined) throw named(next);
    return "answer";
  };
  return { op, calls };
}

const halfSize = (): string => "half the size";
const refuse = (): never => {
  throw named("InsufficientFunds");
};
const failing = async (): Promise<never> => {
  throw named("NetworkError");
};

test("execute() of a read tries again with growing delays, and says how often it called", async () => {
  const { executor, ended } = rig();
  const { op } = service("NetworkError", "RequestTimeout", "NetworkError");
  const sent = await ended(executor.execute(op, "fetch_ticker", { kind: "read" }));
  expect(sent).toEqual({ value: { value: "answer", degraded: false, attempts: 4 }, ms: 500 + 1_000 + 2_000 });
});

test.each([
  ["exhausted", ["NetworkError", "NetworkError", "NetworkError", "NetworkError"], 4],
  ["fatal", ["InsufficientFunds"], 1],
] as const)("execute() gives up as %s", async (reason, errors, attempts) => {
  const { executor, ended } = rig();
  const { op, calls } = service(...errors);
  const end = await ended(executor.execute(op, "fetch_ticker", { kind: "read" }));
  expect(end).toMatchObject({ error: { name: "ResilienceError", reason, attempts } });
  expect(calls.count).toBe(attempts);
});

test("execute() waits for as long as the service asks, also through its breaker, and no longer", async () => {
  const { executor, ended, machine } = rig();
  const limited = Object.assign(named("RateLimitExceeded"), { retryAfterMs: 2_500 });
  let count = 0;
  const op = async (): Promise<number> => {
    count += 1;
    if (count === 1) throw limited;
    return count;
  };
  const breaker = new Breaker("x", { openJitter: 0 }, machine);
  expect(await ended(executor.execute(op, "read", { kind: "read", breaker }))).toMatchObject({
    value: { value: 2 },
    ms: 2_500,
  });
});

test.each([
  ["normal", ["call", "saved", "call"]],
  ["urgent", ["call", "call"]],
] as const)("execute() sends a %s retry as its budget is kept: %j", async (priority, order) => {
  const seen: string[] = [];
  const save = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    seen.push("saved");
  };
  const budget = new Budget({}, { store: { load: () => undefined, save } });
  const executor = createExecutor({ budget, machine: { random: () => 0 } });
  const { op } = service("NetworkError");
  const noted = (): Promise<string> => {
    seen.push("call");
    return op();
  };
  await executor.execute(noted, "fetch_ticker", { kind: "read", priority });
  expect(seen).toEqual(order);
});

test("execute() waits no longer than a second for a disk that hangs, and not at all once it is aborted", async () => {
  const hang = new Promise<void>(() => undefined);
  const { machine, ended } = rig();
  const store = { load: () => undefined, save: () => hang };
  const wiring = { machine: { ...machine, random: () => 0 } };
  const patient = createExecutor({ ...wiring, budget: new Budget({}, { store, ...machine }) });
  const { op } = service("NetworkError");
  expect(await ended(patient.execute(op, "read", { kind: "read" }))).toMatchObject({
    value: { attempts: 2 },
    ms: 1_000,
  });
  const stop = new AbortController();
  const aborted = createExecutor({ ...wiring, budget: new Budget({}, { store, ...machine }) });
  const { op: again, calls } = service("NetworkError");
  machine.after(500, () => stop.abort());
  const end = await ended(aborted.execute(again, "read", { kind: "read", signal: stop.signal }));
  expect([end, calls.count]).toMatchObject([{ error: { reason: "aborted" }, ms: 500 }, 1]);
});

test("execute() does not try again what an open breaker rejects, and calls the fallback once", async () => {
  const { executor, ended, machine } = rig();
  const breaker = new Breaker("x", { failureThreshold: 2, openJitter: 0 }, machine);
  const { op, calls } = service("NetworkError", "NetworkError", "NetworkError");
  const read = { kind: "read", breaker, fallback: (error: ResilienceError) => `cached, ${error.reason}` } as const;
  expect(await ended(executor.execute(op, "read", read))).toMatchObject({
    value: { value: "cached, open", degraded: true, attempts: 2 },
  });
  expect(await ended(executor.execute(op, "read", read))).toMatchObject({
    value: { value: "cached, open", attempts: 0 },
    ms: 0,
  });
  expect(calls.count).toBe(2);
});

test("execute() calls nothing after an abort, and gives the retry back to the budget", async () => {
  const { executor, ended, world } = rig();
  const { op, calls } = service("NetworkError", "NetworkError");
  const controller = new AbortController();
  world.after(100, () => controller.abort());
  const end = await ended(
    executor.execute(op, "read", { kind: "read", signal: controller.signal, fallback: halfSize }),
  );
  expect(end).toMatchObject({ error: { reason: "aborted" }, ms: 100 });
  await world.play(world.wait(60_000));
  expect(calls.count).toBe(1);
  expect(executor.budget.left().hour).toBe(70);
});

test("execute() ends an attempt that does not answer, and hands its signal on", async () => {
  const { executor, ended } = rig();
  const signals: AbortSignal[] = [];
  const op = ({ signal }: { readonly signal: AbortSignal }): Promise<never> => {
    signals.push(signal);
    return new Promise(() => undefined);
  };
  const end = await ended(executor.execute(op, "read", { kind: "read", timeoutMs: 1_000, maxRetries: 1 }));
  expect(end).toMatchObject({ error: { reason: "exhausted", attempts: 2 }, ms: 1_000 + 500 + 1_000 });
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
});

test("execute() gives up when the budget is empty, proposes a level when that lasts, and lets urgent calls through", async () => {
  const { executor, ended, world, proposals } = rig();
  const read = () => ended(executor.execute(failing, "read", { kind: "read", baseDelayMs: 1 }));
  for (let n = 0; n < 4; n += 1) await read();
  expect(await read()).toMatchObject({ error: { reason: "budget" } });
  expect(proposals).toEqual([]);
  // Every call is refused its second retry for more than a minute.
  for (let n = 0; n < 75; n += 1) {
    await world.play(world.wait(1_000));
    await read();
  }
  expect(proposals.at(-1)).toMatchObject({ source: "retry-budget", level: "degraded" });
  expect(
    await ended(executor.execute(failing, "cancel", { kind: "idempotent", action: "cancel", baseDelayMs: 1 })),
  ).toMatchObject({
    error: { reason: "exhausted", attempts: 4 },
  });
});

test("execute() in its short form is not repeated, nor replaced, where the venue may have done it", async () => {
  const { executor, ended } = rig();
  const lost = service("RequestTimeout");
  expect(await ended(executor.execute(lost.op, "place_order", 3, 1_000, halfSize))).toMatchObject({
    error: { reason: "ambiguous", attempts: 1 },
  });
  const limited = service("RateLimitExceeded");
  expect(await ended(executor.execute(limited.op, "place_order", 3, 1_000, halfSize))).toMatchObject({
    value: { value: "answer", attempts: 2 },
  });
  const refused = service("InsufficientFunds");
  expect(await ended(executor.execute(refused.op, "place_order", 3, 1_000, halfSize))).toMatchObject({
    value: { value: "half the size", degraded: true },
  });
});

const order: OrderRequest = {
  key: "s1:entry",
  action: "open",
  symbol: "BTC/USDT",
  side: "buy",
  type: "limit",
  quantity: "0.5",
  price: 100,
};
const answer = { id: "77", status: "closed", filled: 0.5, average: 1e-7 };

test("execute() of an order asks the level first: nothing is written or sent that it forbids, and sizes follow it", async () => {
  let allowed = false;
  const gate = () =>
    allowed
      ? ({ allowed, sizeFactor: 0.5 } as const)
      : ({ allowed, level: "minimal", reason: "the breaker is open" } as const);
  const { executor, ended, disk } = rig({ gate });
  const quantities: string[] = [];
  const op = ({ intent }: { readonly intent: { readonly quantity: string } }) => {
    quantities.push(intent.quantity);
    return answer;
  };
  const refused = await ended(executor.execute(op, "place_order", { kind: "order", order }));
  expect(refused).toMatchObject({
    error: { reason: "gate", message: "cannot place_order: level minimal does not allow to open: the breaker is open" },
  });
  expect(disk.size).toBe(0);
  allowed = true;
  await ended(executor.execute(op, "place_order", { kind: "order", order }));
  expect(quantities).toEqual(["0.25"]);
});

test("execute() of an order that was sent by an earlier call sends nothing, and answers with what is known", async () => {
  const { executor, ended } = rig();
  const sent = await ended(executor.execute(() => answer, "place_order", { kind: "order", order }));
  const { op, calls } = service();
  const again = await ended(
    executor.execute(async () => ({ id: await op() }), "place_order", { kind: "order", order }),
  );
  expect(sent).toMatchObject({
    value: { repeated: false, attempts: 1, value: answer, clientOrderId: expect.stringMatching(/^sv[0-9a-f]{30}$/) },
  });
  expect(again).toMatchObject({
    value: { repeated: true, attempts: 0, value: { id: "77", status: "closed", filled: "0.5", average: "0.0000001" } },
  });
  expect(calls.count).toBe(0);
});

test("execute() of an order does not send it when its intent cannot be written", async () => {
  const intents = {
    begin: () => Promise.reject(new Error("disk full")),
    settle: () => Promise.resolve(),
    find: () => Promise.resolve(undefined),
    unfinished: () => Promise.resolve([]),
  };
  const { executor, ended } = rig({ intents });
  const { op, calls } = service();
  const end = await ended(executor.execute(async () => ({ id: await op() }), "place_order", { kind: "order", order }));
  expect(end).toMatchObject({
    error: {
      reason: "fatal",
      message: expect.stringContaining("its intent could not be written, so it was not sent: Error: disk full"),
    },
  });
  expect(calls.count).toBe(0);
});

test("execute() of an order whose fate stays unknown sends nothing more, proposes minimal, and settleUnfinished() ends that", async () => {
  let readable = false;
  const find = () => (readable ? Promise.resolve(answer) : Promise.reject(named("NetworkError")));
  const { executor, ended, proposals, disk } = rig({ reader: { find } });
  const { op, calls } = service("RequestTimeout");
  const fallback = { order: { ...order, quantity: "0.25" }, op: () => answer };
  const end = await ended(
    executor.execute(async () => ({ id: await op() }), "place_order", { kind: "order", order, fallback }),
  );
  expect(end).toMatchObject({ error: { reason: "ambiguous", attempts: 1 } });
  expect(calls.count).toBe(1);
  expect(proposals).toMatchObject([{ level: "minimal", source: expect.stringMatching(/^order:sv/) }]);
  expect([...disk.values()]).toMatchObject([{ outcome: { status: "unknown" } }]);
  readable = true;
  expect(await ended(executor.settleUnfinished())).toMatchObject({
    value: [{ outcome: { status: "filled", exchangeOrderId: "77" } }],
  });
  expect(proposals.at(-1)).toMatchObject({ level: "normal" });
});

test("execute() of an order sends its fallback once and only in its place, also when it is asked for again", async () => {
  const { executor, ended, disk } = rig();
  const refusals = { count: 0 };
  const refuseCounted = (): never => {
    refusals.count += 1;
    throw named("InsufficientFunds");
  };
  const half = { id: "78", status: "closed", filled: 0.25 };
  const fallback = { order: { ...order, type: "market", quantity: "0.25" }, op: () => half };
  const call = () => ended(executor.execute(refuseCounted, "place_order", { kind: "order", order, fallback }));
  expect(await call()).toMatchObject({ value: { value: half, degraded: true, attempts: 2, repeated: false } });
  expect(await call()).toMatchObject({ value: { value: { id: "78" }, degraded: true, attempts: 0, repeated: true } });
  expect(refusals.count).toBe(1);
  expect([...disk.values()].map(({ outcome }) => outcome?.status)).toEqual(["rejected", "filled"]);
});

test("execute() of an order without a fallback answers with the one that an earlier call has sent in its place", async () => {
  const { executor, ended, disk } = rig();
  const half = { id: "78", status: "closed", filled: 0.25 };
  const fallback = { order: { ...order, quantity: "0.25" }, op: () => half };
  await ended(executor.execute(refuse, "place_order", { kind: "order", order, fallback }));
  const sent = { count: 0 };
  const op = () => {
    sent.count += 1;
    return answer;
  };
  const later = await ended(executor.execute(op, "place_order", { kind: "order", order }));
  expect(later).toMatchObject({ value: { value: { id: "78" }, degraded: true, attempts: 0, repeated: true } });
  expect(sent.count).toBe(0);
  expect([...disk.values()].map(({ outcome }) => outcome?.status)).toEqual(["absent", "filled"]);
});

test("execute() of an order without a fallback sends it when its fallback was certainly not executed", async () => {
  const { executor, ended } = rig();
  const fallback = { order: { ...order, quantity: "0.25" }, op: refuse };
  await ended(executor.execute(refuse, "place_order", { kind: "order", order, fallback }));
  const later = await ended(executor.execute(() => answer, "place_order", { kind: "order", order }));
  expect(later).toMatchObject({ value: { value: answer, degraded: false, repeated: false } });
});

test("execute() of an order is refused while another call may be about to send its fallback", async () => {
  const { executor, ended, world } = rig();
  const refuseLate = async (): Promise<never> => {
    await world.wait(100);
    throw named("InsufficientFunds");
  };
  const slowly = async () => {
    await world.wait(5_000);
    return { id: "78", status: "closed", filled: 0.25 };
  };
  const fallback = { order: { ...order, quantity: "0.25" }, op: slowly };
  const first = executor.execute(refuseLate, "place_order", { kind: "order", order, fallback });
  const second = world.wait(1_000).then(() => executor.execute(() => answer, "place_order", { kind: "order", order }));
  expect(await ended(Promise.allSettled([first, second]))).toMatchObject({
    value: [{ value: { degraded: true } }, { reason: { reason: "ambiguous", attempts: 0 } }],
  });
});

type Failing = () => Promise<never>;
test.each([
  ["a read", 0, (to: Executor, op: Failing, signal: AbortSignal) => to.execute(op, "call", { kind: "read", signal })],
  [
    "a change",
    0,
    (to: Executor, op: Failing, signal: AbortSignal) =>
      to.execute(op, "call", { kind: "idempotent", action: "cancel", signal }),
  ],
  [
    "an order",
    1,
    (to: Executor, op: Failing, signal: AbortSignal) => to.execute(op, "call", { kind: "order", order, signal }),
  ],
] as const)("execute() of %s calls nothing when it is aborted in the moment before a call", async (_, asked, call) => {
  for (const atGate of [1, 2, 3]) {
    const controller = new AbortController();
    const gates = { count: 0 };
    const gate = () => {
      gates.count += 1;
      if (gates.count === atGate + asked) controller.abort();
      return { allowed: true, sizeFactor: 1 } as const;
    };
    const { executor, ended, disk } = rig({ gate });
    const calls = { count: 0, late: 0 };
    const op = async (): Promise<never> => {
      calls.count += 1;
      if (controller.signal.aborted) calls.late += 1;
      throw named("RateLimitExceeded");
    };
    const end = await ended(call(executor, op, controller.signal));
    expect(end).toMatchObject({ error: { reason: "aborted" } });
    expect(calls).toEqual({ count: atGate - 1, late: 0 });
    expect([...disk.values()].map(({ outcome }) => outcome?.status)).toEqual(asked === 1 ? ["absent"] : []);
  }
});

test("execute() of an order that is aborted on its way asks what became of it", async () => {
  const controller = new AbortController();
  const { executor, ended } = rig({ reader: { find: () => Promise.resolve(answer) } });
  const op = async ({ signal }: { readonly signal: AbortSignal }): Promise<never> => {
    controller.abort();
    throw signal.reason;
  };
  const end = await ended(executor.execute(op, "place_order", { kind: "order", order, signal: controller.signal }));
  expect(end).toMatchObject({ value: { value: answer, attempts: 1 } });
});

test("execute() of an order sends nothing under its id while an attempt that was given up may still leave", async () => {
  const { executor, ended, world } = rig();
  const left: string[] = [];
  const late = async (): Promise<typeof answer> => {
    await world.wait(600_000);
    left.push("first");
    return answer;
  };
  const second = () => {
    left.push("second");
    return answer;
  };
  const fallback = { order: { ...order, quantity: "0.25" }, op: second };
  const call = (op: () => typeof answer | Promise<typeof answer>) =>
    ended(executor.execute(op, "place_order", { kind: "order", order, fallback }));
  expect(await call(late)).toMatchObject({ error: { reason: "ambiguous" } });
  expect(await call(second)).toMatchObject({ error: { reason: "ambiguous", attempts: 0 } });
  expect(await ended(executor.settleUnfinished())).toMatchObject({ value: [] });
  await world.play(new Promise(() => undefined));
  expect(left).toEqual(["first"]);
});

test.each([
  ["an order", { kind: "order", order }, { reason: "gate", attempts: 1 }],
  ["a call that opens", { kind: "idempotent", action: "open" }, { reason: "gate", attempts: 1 }],
] as const)("execute() of %s asks the level again before each retry", async (_, options, error) => {
  let allowed = true;
  const gate = () =>
    allowed ? ({ allowed, sizeFactor: 1 } as const) : ({ allowed, level: "emergency", reason: "a loss" } as const);
  const { executor, ended } = rig({ gate });
  let count = 0;
  const op = (): never => {
    count += 1;
    allowed = false;
    throw Object.assign(named("RateLimitExceeded"), { retryAfterMs: 3_600_000 });
  };
  // Safe: each case has the options of its own overload.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  expect(await ended(executor.execute(op, "place_order", options as OrderOptions))).toMatchObject({ error });
  expect(count).toBe(1);
});

test("execute() of an order that is tried again is no larger than the level allows by then", async () => {
  let sizeFactor = 1;
  const { executor, ended } = rig({ gate: () => ({ allowed: true, sizeFactor }) });
  const quantities: string[] = [];
  const op = ({ intent }: { readonly intent: { readonly quantity: string } }) => {
    quantities.push(intent.quantity);
    if (quantities.length > 1) return answer;
    sizeFactor = 0.5;
    throw named("RateLimitExceeded");
  };
  await ended(executor.execute(op, "place_order", { kind: "order", order }));
  expect(quantities).toEqual(["0.5", "0.25"]);
});

test("execute() refuses an order without a log", async () => {
  const executor = createExecutor();
  await expect(executor.execute(() => answer, "place_order", { kind: "order", order })).rejects.toThrow(
    "cannot place_order: the executor has no intents, and an order needs both",
  );
});
