/** A bot's state on the compiled binary: shown while it runs, checked after its death, salvaged, and recovered by its next start. */
import { existsSync, readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { program } from "./fixture.ts";
import { Rig } from "./harness.ts";

const KEEPING = program("state-and-stay.ts");

function parsed(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? { ...value } : {};
}

test.concurrent("state shows what a running bot keeps, and finds it whole", async () => {
  await using rig = new Rig({ bots: { bot: { command: KEEPING } } });
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
