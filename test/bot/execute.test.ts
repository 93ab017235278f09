/** `execute`: retries, budget, breaker, abort and fallback of calls that are no orders, on a virtual clock. */
import { expect, test } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { Budget } from "../../src/bot/budget.ts";
import type { ResilienceError } from "../../src/bot/errors.ts";
import { createExecutor } from "../../src/bot/execute.ts";
import { failing, halfSize, rig, service } from "./execute-rig.ts";
import { named } from "./order-sim.ts";

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
  const { world, machine, ended } = rig();
  const save = async (): Promise<void> => {
    await world.wait(100);
    seen.push("saved");
  };
  const budget = new Budget({}, { ...machine, store: { load: () => undefined, save } });
  const executor = createExecutor({ budget, machine: { ...machine, random: () => 0 } });
  const { op } = service("NetworkError");
  const noted = (): Promise<string> => {
    seen.push("call");
    return op();
  };
  await ended(executor.execute(noted, "fetch_ticker", { kind: "read", priority }));
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
