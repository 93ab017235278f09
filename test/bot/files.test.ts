/** The files of the bot's SDK: what a kill, a torn line and a restart leave of intents, breakers and budgets. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { Budget } from "../../src/bot/budget.ts";
import { openFileStore } from "../../src/bot/file-store.ts";
import { openIntentFile } from "../../src/bot/intent-file.ts";
import type { IntentOutcome } from "../../src/bot/ports.ts";
import { orderIntent } from "./order-intent.ts";

const folder = mkdtempSync(join(tmpdir(), "sdk-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const filled: IntentOutcome = {
  status: "filled",
  exchangeOrderId: "7",
  filled: "1",
  avgPrice: "100",
  attempts: 1,
  error: null,
  at: 2,
};

test("openIntentFile() knows after a restart what was begun, and what is unfinished", async () => {
  const path = join(folder, "sub", "intents.ndjson");
  const first = openIntentFile(path);
  expect(await first.begin(orderIntent("a"))).toBeUndefined();
  await Promise.all([first.begin(orderIntent("b")), first.begin(orderIntent("c")), first.settle("a", filled)]);
  await first.settle("b", { ...filled, status: "unknown" });
  // No close: a kill.
  const second = openIntentFile(path);
  expect((await second.unfinished()).map(({ clientOrderId }) => clientOrderId)).toEqual(["c", "b"]);
  expect(await second.begin(orderIntent("a"))).toEqual({ intent: orderIntent("a"), outcome: filled });
  expect(await second.begin({ ...orderIntent("c"), quantity: "2" })).toEqual({
    intent: orderIntent("c"),
    outcome: null,
  });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  second.close();
  first.close();
});

test("openIntentFile() skips a torn last line, and goes on behind it", async () => {
  const path = join(folder, "torn.ndjson");
  const first = openIntentFile(path);
  await first.begin(orderIntent("a"));
  first.close();
  appendFileSync(path, '{"begin":{"clientOrderId":"b","na');
  const second = openIntentFile(path);
  expect(second.damagedLines).toBe(0);
  await second.begin(orderIntent("c"));
  second.close();
  const third = openIntentFile(path);
  expect((await third.unfinished()).map(({ clientOrderId }) => clientOrderId)).toEqual(["a", "c"]);
  third.close();
});

test("openIntentFile() says when it lost lines, and keeps the damaged file", async () => {
  const path = join(folder, "damaged.ndjson");
  writeFileSync(
    path,
    `{"begin":${JSON.stringify(orderIntent("a"))}}\nrubbish\n{"begin":${JSON.stringify(orderIntent("b"))}}\n`,
  );
  const file = openIntentFile(path);
  expect(file.damagedLines).toBe(1);
  expect(await file.unfinished()).toHaveLength(2);
  expect(readFileSync(`${path}.damaged`, "utf8")).toContain("rubbish");
  file.close();
});

test("openIntentFile() remembers the last 10 000 that have ended and all that have not", async () => {
  const path = join(folder, "many.ndjson");
  const outcome = JSON.stringify(filled);
  const lines = Array.from(
    { length: 10_050 },
    (_, n) =>
      `{"begin":${JSON.stringify(orderIntent(`i${n}`))}}\n${n === 3 ? "" : `{"settle":"i${n}","outcome":${outcome}}\n`}`,
  );
  writeFileSync(path, lines.join(""));
  const file = openIntentFile(path);
  expect((await file.unfinished()).map(({ clientOrderId }) => clientOrderId)).toEqual(["i3"]);
  expect(await file.begin(orderIntent("i10049"))).toMatchObject({ outcome: filled });
  expect(await file.begin(orderIntent("i0"))).toBeUndefined();
  file.close();
  const kept = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.includes('"settle"'));
  expect(kept).toHaveLength(10_000);
});

test("openIntentFile() promises nothing once it is closed", async () => {
  const file = openIntentFile(join(folder, "closed.ndjson"));
  file.close();
  await expect(file.begin(orderIntent("a"))).rejects.toThrow("it is closed");
});

test("Budget with a file store is not refilled by a crash loop", () => {
  const path = join(folder, "state.ndjson");
  const clock = { now: () => 5, wallNow: () => 1e12 };
  let granted = 0;
  for (let life = 0; life < 30; life += 1) {
    const store = openFileStore(path);
    const budget = new Budget({}, { store: store.budgets, ...clock });
    if (budget.withdraw("normal").granted) granted += 1;
    // No close: a kill.
  }
  expect(granted).toBe(10);
});

test("Breaker with a file store is open after a restart", () => {
  const path = join(folder, "breakers.ndjson");
  const clock = { now: () => 5, wallNow: () => 1e12 };
  new Breaker("x", {}, { store: openFileStore(path).breakers, ...clock }).trip(9_000, "limit");
  const second = new Breaker("x", {}, { store: openFileStore(path).breakers, ...clock });
  expect(second.stats()).toMatchObject({ state: "open", retryAfterMs: 9_000, reason: "limit" });
});

test("openFileStore() tells of a disk that fails, and does not throw", () => {
  const errors: unknown[] = [];
  const store = openFileStore(join(folder, "failing.ndjson"), { onError: (error) => errors.push(error) });
  store.close();
  void store.budgets.save("default", { tokens: 1, spent: [], savedAt: 1 });
  expect(String(errors[0])).toContain("it is closed");
  expect(store.budgets.load("default")).toMatchObject({ tokens: 1 });
  expect(existsSync(join(folder, "failing.ndjson.damaged"))).toBe(false);
});
