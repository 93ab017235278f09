/** A bot's state on the compiled binary: shown while it runs, checked after its death, salvaged, and recovered by its next start. */
import { existsSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openStore } from "../../src/bot/index.ts";
import { program } from "./fixture.ts";
import { Rig } from "./harness.ts";

const KEEPING = program("state-and-stay.ts");

function parsed(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? { ...value } : {};
}

test.concurrent("state shows what a running bot keeps, and finds it whole", async () => {
  await using rig = new Rig({ bots: { bot: { command: KEEPING } } });
  expect((await rig.cli("state", "doctor", "bot")).out).toMatch(
    /^there is no state: \S+\na bot keeps one with the SDK: docs\/state\.md\n/,
  );
  await rig.run();
  await rig.botUntil("it keeps something", () => existsSync(rig.path("opened-1")));
  const shown = await rig.cli("state", "show", "bot");
  expect(shown).toMatchObject({ code: 0, err: "" });
  expect(shown.out).toContain("position p1  long 0.5 BTC/USDT:USDT  stop 59000  open");
  expect(shown.out).toMatch(/order sv-1 {2}buy 0\.1 BTC\/USDT:USDT {2}intent/);
  const looked = await rig.cli("state", "doctor", "bot", "--json");
  expect(looked.code).toBe(0);
  expect(parsed(looked.out)).toMatchObject({ condition: "whole", findings: [] });
  expect(await rig.cli("state", "show", "nobody")).toMatchObject({ code: 2 });
});

test.concurrent("a state that was emptied is told by doctor, salvaged beside it, and recovered by the next start", async () => {
  await using rig = new Rig({ bots: { bot: { command: KEEPING, restart: { base: "100ms" } } } });
  await rig.run();
  await rig.botUntil("it keeps something", () => existsSync(rig.path("opened-1")));
  expect(await rig.cli("stop", "bot")).toMatchObject({ code: 0 });
  const folder = rig.state("bots/bot/state");
  truncateSync(join(folder, "state.db"), 0);
  const before = readdirSync(folder).toSorted();

  const looked = await rig.cli("state", "doctor", "bot");
  expect(looked).toMatchObject({ code: 1 });
  expect(looked.out).toContain("to try it first: supervisor state salvage bot --to FOLDER\n");
  expect(looked.out).toContain("the database is empty");
  const tried = await rig.cli("state", "salvage", "bot", "--to", rig.path("salvaged"), "--json");
  expect(tried).toMatchObject({ code: 0 });
  expect(parsed(tried.out)).toMatchObject({ rows: { positions: 1, orders: 1 } });
  expect(readdirSync(folder).toSorted()).toEqual(before);
  expect(await rig.cli("state", "salvage", "bot", "--to", rig.path("salvaged"))).toMatchObject({ code: 1 });

  expect(await rig.cli("start", "bot")).toMatchObject({ code: 0 });
  await rig.botUntil("the next start has opened it", () => existsSync(rig.path("opened-2")));
  expect(parsed(rig.read("opened-2"))).toMatchObject({ kind: "recovered" });
  const after = await rig.cli("state", "show", "bot", "--json");
  expect(parsed(after.out)).toMatchObject({ needsReconcile: expect.any(String), rows: { positions: 1, orders: 1 } });
});

test.concurrent("state level sets what a stopped bot begins with, and is refused while it runs", async () => {
  await using rig = new Rig({ bots: { bot: { command: KEEPING } } });
  await rig.run();
  await rig.botUntil("it keeps something", () => existsSync(rig.path("opened-1")));
  const early = await rig.cli("state", "level", "bot", "minimal", "--reason", "x");
  expect(early).toMatchObject({ code: 1, err: expect.stringContaining("the state is in use; stop the bot first") });
  expect(await rig.cli("state", "level", "bot", "rubbish", "--reason", "x")).toMatchObject({ code: 2 });
  expect(await rig.cli("stop", "bot")).toMatchObject({ code: 0 });
  const done = await rig.cli("state", "level", "bot", "minimal", "--reason", "looked at it");
  expect(done).toMatchObject({ code: 0, err: "" });
  expect((await rig.cli("state", "show", "bot")).out).toContain("level minimal: looked at it");
  expect((await rig.cli("state", "doctor", "bot", "--json")).out).toContain('"condition":"whole"');
});

const [OLD_KEY, NEW_KEY] = ["k1".repeat(20), "k2".repeat(20)];
const SECRETS = 2_000;

/** A state with secrets under the old key, and a key file with the new one above it. */
async function secretState(rig: Rig): Promise<{ folder: string; keyFile: string }> {
  const folder = rig.path("kept");
  const keyFile = rig.path("state.key");
  writeFileSync(keyFile, OLD_KEY, { mode: 0o600 });
  const store = await openStore({ folder, keyFile });
  await Promise.all(Array.from({ length: SECRETS }, (_, n) => store.put(`secret:${n}`, `canary-${n}`)));
  await store.close();
  writeFileSync(keyFile, `${NEW_KEY}\n${OLD_KEY}\n`);
  return { folder, keyFile };
}

async function readable(folder: string, keyFile: string): Promise<number> {
  const store = await openStore({ folder, keyFile });
  try {
    const values = await Promise.all(Array.from({ length: SECRETS }, (_, n) => store.get(`secret:${n}`)));
    return values.filter((value, n) => value === `canary-${n}`).length;
  } finally {
    await store.close();
  }
}

test.concurrent("state rekey leaves nothing that needs the old key, and is refused while the state is in use", async () => {
  await using rig = new Rig({ bots: {} });
  const { folder, keyFile } = await secretState(rig);
  const user = await openStore({ folder, keyFile });
  const early = await rig.cli("state", "rekey", folder, "--key-file", keyFile);
  expect(early).toMatchObject({ code: 1, err: expect.stringContaining("the state is in use; stop the bot first") });
  await user.close();
  expect(await rig.cli("state", "rekey", folder)).toMatchObject({
    code: 1,
    err: expect.stringContaining("no key is given"),
  });
  const done = await rig.cli("state", "rekey", folder, "--key-file", keyFile);
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain(`${SECRETS} values are encrypted anew`);
  writeFileSync(keyFile, NEW_KEY);
  expect(await readable(folder, keyFile)).toBe(SECRETS);
  // Also what a recovery would take: the second copy and the backup.
  truncateSync(join(folder, "state.db"), 0);
  expect(await readable(folder, keyFile)).toBe(SECRETS);
  const again = await rig.cli("state", "rekey", folder, "--key-file", keyFile, "--json");
  expect(parsed(again.out)).toMatchObject({ renewed: 0, keys: 1 });
});

test.concurrent("state rekey that is killed in the middle leaves a state that both keys open, and is done by the next one", async () => {
  await using rig = new Rig({ bots: {} });
  const { folder, keyFile } = await secretState(rig);
  const second = join(folder, "intents.ndjson");
  const bytes = statSync(second).size;
  const worker = Bun.spawn([rig.binary, "__state"], {
    stdio: [new Blob([JSON.stringify({ what: "rekey", folder, keyFile })]), "ignore", "ignore", "ignore"],
  });
  // Its lines are written, its transaction is not committed yet, or was just now.
  while (statSync(second).size === bytes && worker.exitCode === null) await Bun.sleep(0);
  worker.kill("SIGKILL");
  await worker.exited;
  expect(await readable(folder, keyFile)).toBe(SECRETS);
  expect(await rig.cli("state", "rekey", folder, "--key-file", keyFile)).toMatchObject({ code: 0 });
  writeFileSync(keyFile, NEW_KEY);
  expect(await readable(folder, keyFile)).toBe(SECRETS);
});
