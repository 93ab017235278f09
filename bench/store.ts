/** The bot's state store on a busy disk: durable writes a second of 16 writers, and how long the bot's loop is kept waiting, beside the same in the loop itself. */
import { join } from "node:path";
import { openStore } from "../src/bot/index.ts";
import { openToWrite } from "../src/bot/state/database.ts";
import type { Row } from "./measure.ts";
import { endChild, firstLine, type Options, type Rig } from "./rig.ts";

const WRITERS = 16;
const ROUNDS = 7;
const ROUND_MS = 2_000;
const QUICK_ROUNDS = 2;
const QUICK_ROUND_MS = 300;
/** How often the loop's lag is looked at, ms. */
const LAG_MS = 5;
/** The project's promises. */
const TARGET_WRITES = 20_000;
const TARGET_LAG_MS = 30;
/** A value of some 200 bytes. */
const VALUE = JSON.stringify({ symbol: "BTC/USDT:USDT", side: "buy", amount: 0.01, note: "x".repeat(130) });

interface Measured {
  readonly writes: number[];
  readonly lags: number[];
}

export async function benchStore(rig: Rig, { quick }: Options): Promise<readonly Row[]> {
  const rounds = quick ? QUICK_ROUNDS : ROUNDS;
  const roundMs = quick ? QUICK_ROUND_MS : ROUND_MS;
  const quiet: Measured = { writes: [], lags: [] };
  const busy: Measured = { writes: [], lags: [] };
  const inLoop: Measured = { writes: [], lags: [] };
  const store = await openStore({ folder: rig.folderFor("state") });
  const bare = await openToWrite(join(rig.folderFor("bare"), "bare.db"));
  bare.exec("CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT) STRICT");
  const upsert = bare.prepare("INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  const put = (key: string, n: number): Promise<void> => store.put(key, `${n}${VALUE}`);
  const putInLoop = (key: string, n: number): Promise<void> => {
    upsert.run(key, `${n}${VALUE}`);
    // As a bot that awaits something else in between: its loop turns after each write.
    return new Promise((resolve) => setImmediate(resolve));
  };
  for (let round = 0; round < rounds; round += 1) {
    add(quiet, await write(put, roundMs));
    const script = join(import.meta.dirname, "disk-noise.ts");
    const noise = rig.spawn([process.execPath, script, join(rig.folderFor("noise"), "file")], {}, "pipe");
    await firstLine(noise);
    add(busy, await write(put, roundMs));
    add(inLoop, await write(putInLoop, roundMs));
    await endChild(noise);
  }
  bare.close();
  await store.close();
  return rows(quiet, busy, inLoop);
}

function rows(quiet: Measured, busy: Measured, inLoop: Measured): readonly Row[] {
  const ofLoop = { name: "each committed in the loop, disk busy" };
  const writes = { unit: "/s", atLeast: TARGET_WRITES } as const;
  const lag = { unit: "ms", target: TARGET_LAG_MS } as const;
  return [
    { what: "durable writes of 16 writers", values: quiet.writes, ...writes },
    {
      what: "the same while the disk is busy",
      values: busy.writes,
      ...writes,
      baseline: { ...ofLoop, values: inLoop.writes },
    },
    { what: "longest wait of the loop in a round", values: quiet.lags, ...lag },
    {
      what: "the same while the disk is busy",
      values: busy.lags,
      ...lag,
      baseline: { ...ofLoop, values: inLoop.lags },
    },
  ];
}

function add(to: Measured, { perSecond, lagMs }: { readonly perSecond: number; readonly lagMs: number }): void {
  to.writes.push(perSecond);
  to.lags.push(lagMs);
}

/** Writers that await each write, for so long. */
async function write(
  put: (key: string, n: number) => Promise<void>,
  forMs: number,
): Promise<{ readonly perSecond: number; readonly lagMs: number }> {
  let done = 0;
  let lagMs = 0;
  let lastMs = performance.now();
  const watch = setInterval(() => {
    const nowMs = performance.now();
    lagMs = Math.max(lagMs, nowMs - lastMs - LAG_MS);
    lastMs = nowMs;
  }, LAG_MS);
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      while (performance.now() - startMs < forMs) {
        await put(`key ${writer}`, done);
        done += 1;
      }
    }),
  );
  const tookMs = performance.now() - startMs;
  clearInterval(watch);
  return { perSecond: (done / tookMs) * 1_000, lagMs };
}
