/** The state store: what a promise of it is worth, the intents, the chain of trades, the one writer, secrets. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openStore, type StateOptions, type StateStore } from "../../../src/bot/index.ts";
import type { SavedBreaker } from "../../../src/bot/ports.ts";
import { positionCells } from "../../../src/bot/state/books.ts";
import { rekeyState } from "../../../src/bot/state/rekey.ts";
import { runtimeRefusal } from "../../../src/bot/state/store.ts";
import { hashOf, lineOf } from "../../../src/bot/state/rows.ts";
import { intent, makeFolder, position, trade } from "./rig.ts";

let place: ReturnType<typeof makeFolder>;
const opened: StateStore[] = [];

beforeEach(() => {
  place = makeFolder();
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const store of opened.splice(0)) await store.close();
  place.remove();
});

test.each([
  [{ node: "20.20.2" }, "cannot open the state: this is Node 20.20.2, and it takes Bun, or Node 22 or later"],
  [{ node: "22.0.0" }, undefined],
  [{ node: "20.20.2", bun: "1.4.5" }, undefined],
])("runtimeRefusal() of %j is %j", (versions, refusal) => {
  expect(runtimeRefusal(versions)).toBe(refusal);
});

async function start(options: Partial<StateOptions> = {}): Promise<StateStore> {
  const store = await openStore({ folder: place.folder, ...options });
  opened.push(store);
  return store;
}

const FILLED = {
  status: "filled",
  exchangeOrderId: "77",
  filled: "0.3",
  avgPrice: "60000",
  attempts: 1,
  error: null,
  at: Date.now(),
} as const;

const SAVED_BREAKER: SavedBreaker = {
  state: "open",
  openUntil: 1_700_000_000_000,
  attempt: 2,
  consecutive: 5,
  window: [{ at: 1_699_999_999_000, failed: true }],
  totals: { calls: 9, successes: 4, failures: 5, slow: 0, ignored: 0, rejected: 2, opened: 2 },
  reason: "5 failures in a row",
  savedAt: 1_700_000_000_000,
};

test("openStore() makes a state once, and finds it clean after a close", async () => {
  const first = await start();
  await first.putPosition(position(1));
  await first.close();
  const second = await start();
  expect([first.report.kind, second.report.kind]).toEqual(["fresh", "clean"]);
  expect(second.report.uuid).toBe(first.report.uuid);
  expect(await second.positions()).toEqual([position(1)]);
});

test("begin() answers a known id with what is known and changes nothing", async () => {
  const { intents } = await start();
  expect(await intents.begin(intent("a"))).toBeUndefined();
  expect(await intents.begin({ ...intent("a"), quantity: "9" })).toMatchObject({
    intent: { quantity: "0.3" },
    outcome: null,
  });
  await intents.settle("a", FILLED);
  expect(await intents.begin(intent("a"))).toMatchObject({ outcome: FILLED });
});

test("unfinished() lists what was begun, sent or of unknown fate, oldest first, also after a restart", async () => {
  const first = await start();
  for (const [at, id] of ["a", "b", "c", "d"].entries())
    await first.intents.begin({ ...intent(id), createdAt: 1_000 - at });
  await first.intents.settle("a", { ...FILLED, status: "unknown" });
  await first.intents.settle("b", FILLED);
  await first.intents.settle("c", { ...FILLED, status: "sent" });
  await first.close();
  const again = await start();
  expect((await again.intents.unfinished()).map(({ clientOrderId }) => clientOrderId)).toEqual(["d", "c", "a"]);
});

test("settle() of an intent that nobody began is refused", async () => {
  const { intents } = await start();
  await expect(intents.settle("x", FILLED)).rejects.toThrow(/no such intent/);
});

test("a request that fails does not take its group with it", async () => {
  const store = await start();
  const results = await Promise.allSettled([
    store.putPosition(position(1)),
    store.intents.settle("nobody", FILLED),
    store.put("k", "v"),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect([(await store.positions()).length, await store.get("k")]).toEqual([1, "v"]);
});

test("addTrade() appends a fill once", async () => {
  const store = await start();
  expect([await store.addTrade(trade(1)), await store.addTrade(trade(2)), await store.addTrade(trade(1))]).toEqual([
    true,
    true,
    false,
  ]);
  expect(await store.trades(0)).toEqual([trade(1), trade(2)]);
});

test("a writer whose state was opened by another process since writes nothing more, and says so", async () => {
  const trouble: string[] = [];
  const levels: string[] = [];
  const old = await start({ onTrouble: (text) => trouble.push(text), propose: ({ level }) => levels.push(level) });
  await old.put("k", "old");
  const now = await start();
  await now.put("k", "new");
  await expect(old.put("k", "late")).rejects.toThrow(/another process has opened it since/);
  expect(await now.get("k")).toBe("new");
  expect([trouble.length, levels]).toEqual([1, ["minimal"]]);
});

test("breakers, budgets and the level are there at once at the next start", async () => {
  const first = await start();
  const budget = { tokens: 3.5, spent: [1, 2], savedAt: 9 };
  const level = { level: "minimal", reason: "x", source: "s", since: 1, latched: false, holdUntil: 0 } as const;
  void first.budgets.save("api", budget);
  first.level.save(level);
  expect(first.budgets.load("api")).toEqual(budget);
  await first.close();
  const again = await start();
  expect([again.budgets.load("api"), again.level.load(), again.breakers.load("none")]).toEqual([
    budget,
    level,
    undefined,
  ]);
});

test("openStore() takes over what the second copy has newer after an unclean end", async () => {
  const first = await start();
  await first.putPosition(position(1));
  const copy = join(place.folder, "copy");
  mkdirSync(copy);
  for (const name of ["state.db", "state.db-wal", "state.db.id", "intents.ndjson"])
    copyFileSync(join(place.folder, name), join(copy, name));
  const row = { table: "positions", cells: positionCells(position(2)), version: 1 } as const;
  appendFileSync(join(copy, "intents.ndjson"), lineOf({ row, hash: hashOf(row) }));
  const again = await start({ folder: copy });
  expect(again.report).toMatchObject({ kind: "unclean", findings: ["1 rows of the second copy were newer"] });
  expect((await again.positions()).map(({ id }) => id)).toEqual(["p1", "p2"]);
});

test("put() of secret:* writes nothing readable, and get() reads it with its key", async () => {
  const keyFile = join(place.folder, "key");
  writeFileSync(keyFile, `${"k1".repeat(20)}\n`, { mode: 0o600 });
  const first = await start({ keyFile });
  await first.put("secret:apiKey", "canary-5f2d9b");
  await first.backup();
  await first.close();
  const again = await start({ keyFile });
  expect(await again.get("secret:apiKey")).toBe("canary-5f2d9b");
  await again.close();
  for (const name of ["state.db", "state.backup.db", "intents.ndjson"])
    expect(readFileSync(join(place.folder, name)).includes("canary-5f2d9b")).toBe(false);
});

test("rekey() encrypts anew with the first key, after which the old one is not needed", async () => {
  const keyFile = join(place.folder, "key");
  const [old, now] = ["o".repeat(40), "n".repeat(40)];
  writeFileSync(keyFile, old, { mode: 0o600 });
  const first = await start({ keyFile });
  await first.put("secret:a", "1");
  await first.close();
  writeFileSync(keyFile, `${now}\n${old}\n`);
  const second = await start({ keyFile });
  expect([await second.rekey(), await second.rekey()]).toEqual([1, 0]);
  await second.close();
  writeFileSync(keyFile, now);
  expect(await (await start({ keyFile })).get("secret:a")).toBe("1");
});

test("rekey() of which one value's key is missing leaves every value as it was", async () => {
  const keyFile = join(place.folder, "key");
  const [lost, old, now] = ["k0".repeat(20), "k1".repeat(20), "k2".repeat(20)];
  writeFileSync(keyFile, `${lost}\n${old}`, { mode: 0o600 });
  const first = await start({ keyFile });
  await first.put("secret:b", "1");
  await first.close();
  writeFileSync(keyFile, old);
  const second = await start({ keyFile });
  await second.put("secret:a", "2");
  await second.close();
  writeFileSync(keyFile, `${now}\n${old}`);
  const third = await start({ keyFile });
  await expect(third.rekey()).rejects.toThrow(/cannot decrypt secret:b/);
  await third.close();
  writeFileSync(keyFile, old);
  expect(await (await start({ keyFile })).get("secret:a")).toBe("2");
});

test.skipIf(process.getuid?.() !== 0)("rekeyState() by root leaves the files to the bot's user", async () => {
  const NOBODY = 65_534;
  const keyFile = join(place.folder, "key");
  writeFileSync(keyFile, "k1".repeat(20), { mode: 0o600 });
  await (await start({ keyFile })).close();
  for (const name of ["intents.ndjson", "state.backup.db"]) rmSync(join(place.folder, name), { force: true });
  chownSync(join(place.folder, "state.db"), NOBODY, NOBODY);
  await rekeyState(place.folder, { keyFile });
  const owners = readdirSync(place.folder)
    .filter((name) => !["key", "state.db.id"].includes(name))
    .map((name) => [name, statSync(join(place.folder, name)).uid]);
  expect(Object.fromEntries(owners)).toEqual({
    "state.db": NOBODY,
    "intents.ndjson": NOBODY,
    "state.backup.db": NOBODY,
  });
});

test("put() of secret:* is encrypted with systemd's credential state-key where no key file is given", async () => {
  const credentials = join(place.folder, "credentials");
  mkdirSync(credentials);
  writeFileSync(join(credentials, "state-key"), "k1".repeat(20), { mode: 0o440 });
  vi.stubEnv("CREDENTIALS_DIRECTORY", credentials);
  const first = await start();
  await first.put("secret:a", "1");
  await first.close();
  vi.stubEnv("CREDENTIALS_DIRECTORY", join(place.folder, "none"));
  const second = await start();
  await expect(second.get("secret:a")).rejects.toThrow(/no key is given/);
  await second.close();
  const keyFile = join(place.folder, "key");
  writeFileSync(keyFile, "k1".repeat(20), { mode: 0o600 });
  expect(await (await start({ keyFile })).get("secret:a")).toBe("1");
});

test("openStore() of a state whose database is lost has every value, breaker, budget and the level of the second copy", async () => {
  const first = await start();
  const at = Date.now();
  await first.put("cursor", "17");
  await first.put("gone", "x");
  await first.put("gone", undefined);
  first.level.save({ level: "emergency", reason: "a loss", source: "set", since: at, latched: true, holdUntil: 0 });
  first.breakers.save("order", SAVED_BREAKER);
  void first.budgets.save("default", { savedAt: at, tokens: 3, spent: [at] });
  await first.close();
  for (const name of ["state.db", "state.backup.db"]) rmSync(join(place.folder, name));
  const second = await start();
  expect(second.report.kind).toBe("recovered");
  expect([await second.get("cursor"), await second.get("gone")]).toEqual(["17", undefined]);
  expect(second.level.load()).toMatchObject({ level: "emergency", latched: true });
  expect(second.breakers.load("order")).toEqual(SAVED_BREAKER);
  expect(second.budgets.load("default")).toMatchObject({ tokens: 3, spent: [at] });
});

test("put() of secret:* without a key is refused", async () => {
  await expect((await start()).put("secret:a", "1")).rejects.toThrow(/no key is given/);
});

test("openStore() refuses a key file that others may read", async () => {
  const keyFile = join(place.folder, "key");
  writeFileSync(keyFile, "k".repeat(40));
  chmodSync(keyFile, 0o644);
  await expect(start({ keyFile })).rejects.toThrow(/others may read it/);
});

test("a closed store answers with an error and never hangs", async () => {
  const store = await start();
  await store.close();
  await expect(store.put("k", "v")).rejects.toThrow(/it is closed/);
});
