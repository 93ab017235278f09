/** Orders, breaker and budget on the state store instead of files: the store keeps the promises that they rely on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { Budget } from "../../src/bot/budget.ts";
import { createExecutor, type OrderRequest } from "../../src/bot/execute.ts";
import { openStore, type StateStore } from "../../src/bot/state/store.ts";
import { named } from "./order-sim.ts";

const order: OrderRequest = {
  key: "s1:entry",
  action: "open",
  symbol: "BTC/USDT",
  side: "buy",
  type: "limit",
  quantity: "0.5",
  price: "100",
};
const refuse = (): never => {
  throw named("InsufficientFunds");
};
const filled = { id: "77", status: "closed", filled: 0.5, average: 100 };

test("execute() of an order on the state store is sent once over refusals and restarts", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sdk-state-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const life = async (deed: (store: StateStore) => Promise<unknown>): Promise<unknown> => {
    const store = await openStore({ folder });
    try {
      return await deed(store);
    } finally {
      await store.close();
    }
  };
  let sent = 0;
  const sender = (answer: () => typeof filled): typeof filled => {
    sent += 1;
    return answer();
  };
  const buy = (answer: () => typeof filled) => (store: StateStore) => {
    const executor = createExecutor({
      intents: store.intents,
      reader: { find: () => Promise.resolve(filled) },
      scope: "test",
      orderWindowMs: 100,
    });
    return executor
      .execute(() => sender(answer), "place_order", { kind: "order", order })
      .catch((error: unknown) => error);
  };
  expect(await life(buy(refuse))).toMatchObject({ reason: "fatal" });
  expect(await life((store) => store.intents.unfinished())).toEqual([]);
  expect(await life(buy(() => filled))).toMatchObject({ value: filled, repeated: false });
  expect(await life(buy(() => filled))).toMatchObject({
    value: { id: "77", status: "closed", filled: "0.5" },
    repeated: true,
  });
  expect(sent).toBe(2);
});

test("Breaker and Budget on the state store go on after a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sdk-state-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const first = await openStore({ folder });
  new Breaker("order", {}, { store: first.breakers }).trip(60_000, "limit");
  const budget = new Budget({}, { store: first.budgets });
  for (let n = 0; n < 3; n += 1) budget.withdraw("normal");
  await first.close();
  const second = await openStore({ folder });
  onTestFinished(() => second.close());
  expect(new Breaker("order", {}, { store: second.breakers }).stats()).toMatchObject({
    state: "open",
    reason: "limit",
  });
  expect(new Budget({}, { store: second.budgets }).left()).toMatchObject({ hour: 67 });
});
