/**
 * What was acknowledged outlives a power cut and a kill. A kill alone proves nothing of a power cut: without any flush it loses
 * nothing either. So a real process is traced, and a cut is played at its acknowledgements; the same oracle must find a store
 * that does not flush enough.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openState } from "../../../src/bot/state/open.ts";
import { stateFiles } from "../../../src/bot/state/files.ts";
import { openStore } from "../../../src/bot/index.ts";
import { crashes } from "./power-cut.ts";
import { makeFolder } from "./rig.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const CALLS = "pwrite64,write,fsync,fdatasync,ftruncate";
const mayTrace = spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;
const COUNT = 300;
/** Every so manieth acknowledgement is a crash. */
const EVERY = 20;

let place: ReturnType<typeof makeFolder>;

beforeEach(() => {
  place = makeFolder();
});

afterEach(() => place.remove());

/** The fixture, traced, on a state that was there before; `source` is the tree whose code it runs. */
function traced(
  source: string,
  count: number,
): { readonly trace: string; readonly folder: string; readonly before: string } {
  const folder = join(place.folder, "state");
  const before = join(place.folder, "before");
  const trace = join(place.folder, "trace");
  const run = [process.execPath, join(source, "test", "fixtures", "state-acks.ts"), folder];
  spawnSync(run[0] ?? "", [...run.slice(1), "1"]);
  cpSync(folder, before, { recursive: true });
  const { stderr } = spawnSync("strace", [
    "-f",
    "-y",
    "-xx",
    "-s",
    "100000",
    "-e",
    `trace=${CALLS}`,
    "-o",
    trace,
    ...run,
    String(count),
    "4",
  ]);
  expect(String(stderr)).toBe("");
  return { trace, folder, before };
}

/** Repeatable chance (mulberry32). */
function chance(seed: number): () => boolean {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % 2 === 0;
  };
}

/** Plays a cut at many acknowledgements, without the rest and with random sectors of it; answers what was wrong afterwards. */
async function lossesOf({
  trace,
  folder,
  before,
}: ReturnType<typeof traced>): Promise<{ played: number; wrong: string[] }> {
  const after = join(place.folder, "after");
  const wrong: string[] = [];
  let played = 0;
  let seen = 0;
  for await (const { acks, layOut } of crashes(trace, folder, before)) {
    seen += 1;
    if (seen % EVERY !== 0) continue;
    for (const keeps of [() => false, chance(seen)]) {
      layOut(after, keeps);
      played += 1;
      const { database, report } = await openState(stateFiles(after), { now: Date.now(), backups: [] });
      const has = database.prepare("SELECT 1 FROM kv, orders WHERE key = ? AND client_order_id = ?");
      const lost = acks.filter((n) => has.get(`k${n}`, `c${n}`) === undefined);
      database.close();
      if (report.kind !== "unclean" || lost.length > 0)
        wrong.push(`after ${seen}: ${report.kind}, lost ${lost.length}`);
    }
  }
  return { played, wrong };
}

test.skipIf(!mayTrace)(
  "nothing that was acknowledged is lost by a power cut, whichever unflushed sectors are (needs strace)",
  async () => {
    const { played, wrong } = await lossesOf(traced(root, COUNT));
    expect(played).toBe((COUNT / EVERY) * 2);
    expect(wrong).toEqual([]);
  },
  120_000,
);

test.skipIf(!mayTrace)(
  "the same oracle finds what synchronous = NORMAL loses (needs strace)",
  async () => {
    const { wrong } = await lossesOf(traced(mutant(), COUNT / 5));
    expect(wrong.length).toBeGreaterThan(0);
  },
  120_000,
);

/** A copy of the code that flushes less, and believes that it is right so. */
function mutant(): string {
  const copy = join(place.folder, "mutant");
  mkdirSync(join(copy, "test", "fixtures"), { recursive: true });
  for (const part of ["src/bot", "src/core", "package.json"])
    cpSync(join(root, part), join(copy, part), { recursive: true });
  cpSync(join(root, "test/fixtures/state-acks.ts"), join(copy, "test/fixtures/state-acks.ts"));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const file = join(copy, "src/bot/state/database.ts");
  const text = readFileSync(file, "utf8");
  const weaker = text.replace('["synchronous", "FULL", 2]', '["synchronous", "NORMAL", 1]');
  expect(weaker).not.toBe(text);
  writeFileSync(file, weaker);
  return copy;
}

test("nothing that was acknowledged is lost by a SIGKILL, and the state is whole", async () => {
  for (const after of [20, 90, 170]) {
    const folder = join(place.folder, `kill-${after}`);
    const acks = await killedAfter(folder, after);
    const store = await openStore({ folder });
    const values = await Promise.all(acks.map((n) => store.get(`k${n}`)));
    const begun = new Set((await store.intents.unfinished()).map(({ clientOrderId }) => clientOrderId));
    expect(store.report.kind).toBe("unclean");
    expect(values).toEqual(acks.map((n) => `value ${n}`));
    expect(acks.filter((n) => !begun.has(`c${n}`))).toEqual([]);
    await store.close();
    rmSync(folder, { recursive: true });
  }
}, 60_000);

/** Kills the fixture once it has acknowledged so much; answers what it had acknowledged. */
function killedAfter(folder: string, count: number): Promise<number[]> {
  const child = spawn(process.execPath, [join(root, "test/fixtures/state-acks.ts"), folder, "1000000", "4"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (chunk: string) => {
    text += chunk;
    if (text.split("\n").length > count) child.kill("SIGKILL");
  });
  return new Promise((resolve) => {
    child.on("close", () => resolve([...text.matchAll(/ACK (\d+)\n/g)].map(([, n]) => Number(n))));
  });
}
