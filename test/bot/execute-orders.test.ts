/** `execute` of orders: the level, the intent on disk, the fallback and the abort, on a virtual clock. */
import { expect, test } from "vitest";
import { createExecutor, type Executor, type OrderOptions, type OrderRequest } from "../../src/bot/execute.ts";
import { refuse, rig, service } from "./execute-rig.ts";
import { named } from "./order-sim.ts";

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
