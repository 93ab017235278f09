/** The bot's black box: what one event costs beside the least that could be done, and whether a SIGKILL loses one. */
import { closeSync, constants, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createBlackbox } from "../src/bot/index.ts";
import { readStart, recordedStarts } from "../src/platform/blackbox-files.ts";
import type { Row } from "./measure.ts";
import type { Options, Rig } from "./rig.ts";

const EVENTS = 20_000;
const ROUNDS = 9;
const QUICK_ROUNDS = 2;
const KILLS = 100;
const QUICK_KILLS = 3;
/** The project's promise for one event, ms. */
const TARGET_MS = 0.0025;
/** An event of some 190 bytes. */
const ORDER = { symbol: "BTC/USDT:USDT", side: "buy", amount: 0.01, price: 60_123.5, id: "sv-3f9a11c2b7" };

export async function benchBlackbox(rig: Rig, { quick }: Options): Promise<readonly Row[]> {
  const folder = rig.folderFor("blackbox");
  const blackbox = createBlackbox({ SUPERVISOR_BLACKBOX_DIR: folder });
  const fd = openSync(join(folder, "bare"), constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
  const chatty: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < (quick ? QUICK_ROUNDS : ROUNDS); round += 1) {
    chatty.push(timeOf(() => blackbox.record("tick", ORDER)));
    bare.push(
      timeOf((n) => writeSync(fd, `${JSON.stringify({ v: 1, seq: n, ts: Date.now(), type: "tick", data: ORDER })}\n`)),
    );
  }
  closeSync(fd);
  blackbox.close();
  const lost: number[] = [];
  for (let kill = 0; kill < (quick ? QUICK_KILLS : KILLS); kill += 1) lost.push(await lostByKill(rig, kill));
  return [
    {
      what: "one event recorded",
      unit: "ms",
      values: chatty,
      baseline: { name: "JSON.stringify and one write", values: bare },
      target: TARGET_MS,
    },
    { what: "acknowledged events lost by a SIGKILL", unit: "events", values: lost, target: 0, targetOf: "worst" },
  ];
}

/** Time of one call of `deed`, ms. */
function timeOf(deed: (n: number) => unknown): number {
  const startMs = performance.now();
  for (let n = 0; n < EVENTS; n += 1) deed(n);
  return (performance.now() - startMs) / EVENTS;
}

/** Kills a recording process somewhere, and counts the events that it had acknowledged and that are not on file. */
async function lostByKill(rig: Rig, kill: number): Promise<number> {
  const folder = rig.folderFor(`kill-${kill}`);
  const child = rig.spawn(
    [process.execPath, join(import.meta.dirname, "..", "test", "fixtures", "record-and-ack.ts"), "order.sent"],
    { SUPERVISOR_BLACKBOX_DIR: folder },
    "pipe",
  );
  const { stdout } = child;
  if (typeof stdout !== "object") throw new Error("cannot measure: the process has no output");
  let said = "";
  for await (const chunk of stdout.pipeThrough(new TextDecoderStream())) {
    said += chunk;
    if (said.length > 500 + kill * 37) child.kill("SIGKILL");
  }
  await child.exited;
  const acknowledged = Number(said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1));
  const starts = recordedStarts({ blackbox: folder, sealed: join(folder, "none") });
  const last = starts.flatMap((start) => readStart(start).events).at(-1)?.seq ?? 0;
  rmSync(folder, { recursive: true });
  return Math.max(0, acknowledged - last);
}
