/** Test rig of the emergency close: a paper exchange, a scratch folder and a job, and what the venue itself says afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closePositions } from "../../src/actions/close-positions.ts";
import type { CloseIo } from "../../src/actions/close-io.ts";
import type { CloseJob, CloseReport, WorkerLine } from "../../src/core/close-job.ts";
import { startPaperExchange } from "../../src/demo/exchange/server.ts";
import type { PaperExchange, PaperOptions } from "../../src/demo/exchange/server.ts";
import { systemClock } from "../../src/platform/clock.ts";
import type { Clock } from "../../src/platform/clock.ts";

export const API_KEY = "test-key-of-the-close";
export const API_SECRET = "test-secret-of-the-close";

export interface Rig extends AsyncDisposable {
  readonly paper: PaperExchange;
  readonly folder: string;
  readonly lines: WorkerLine[];
  readonly control: (path: "fault" | "seed" | "set", body: object) => Promise<void>;
  readonly job: (changes?: JobChanges) => CloseJob;
  readonly close: (changes?: JobChanges, io?: Partial<CloseIo>) => Promise<CloseReport>;
}

export type JobChanges = Partial<Omit<CloseJob, "venue">> & { readonly venue?: Partial<CloseJob["venue"]> };

export function startRig(options: Partial<PaperOptions> = {}): Rig {
  const paper = startPaperExchange({ apiKey: API_KEY, apiSecret: API_SECRET, tickMs: 0, ...options });
  const folder = mkdtempSync(join(tmpdir(), "close-"));
  const lines: WorkerLine[] = [];
  const job = ({ venue, ...changes }: JobChanges = {}): CloseJob => ({
    version: 1,
    mode: "close",
    incident: "abc123",
    trigger: "giveUp",
    bot: "momentum",
    account: "main",
    incidentsDir: join(folder, "incidents"),
    accountLock: join(folder, "account.lock"),
    fence: { environ: [`INVOCATION_ID=${crypto.randomUUID()}`], cgroups: [], processes: [] },
    venue: {
      exchange: "binanceusdm",
      endpoint: paper.url,
      sandbox: false,
      symbols: [],
      timeoutMs: 15_000,
      apiKey: API_KEY,
      apiSecret: API_SECRET,
      ...venue,
    },
    ...changes,
  });
  return {
    paper,
    folder,
    lines,
    job,
    control: async (path, body) => {
      const response = await fetch(`${paper.url}/__paper/${path}`, { method: "POST", body: JSON.stringify(body) });
      if (!response.ok) throw new Error(`cannot set up the paper exchange: ${await response.text()}`);
    },
    close: (changes, io) =>
      closePositions(job(changes), { progress: (line) => lines.push(line), clock: systemClock, ...io }),
    async [Symbol.asyncDispose]() {
      await paper.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The system clock at three times the speed, so that a quiet period of 7 s does not hold the suite up. Timeouts shrink with it. */
export const quickClock: Clock = speedClock(3);

export function speedClock(factor: number): Clock {
  return {
    monotonicMs: () => systemClock.monotonicMs() * factor,
    wallTime: () => systemClock.wallTime(),
    after: (delayMs, callback) => systemClock.after(delayMs / factor, callback),
  };
}

/** Positions on the first `count` synthetic symbols, long and short in turn, each with a resting order and a stop. */
export function holdings(count: number, amount = 3): { positions: object[]; orders: object[] } {
  const symbols = Array.from({ length: count }, (_, index) => `S${String(index).padStart(2, "0")}USDT`);
  return {
    positions: symbols.map((symbol, index) => ({ symbol, side: index % 2 === 0 ? "long" : "short", amount })),
    orders: symbols.flatMap((symbol, index) => [
      { symbol, side: index % 2 === 0 ? "buy" : "sell", amount: 1 },
      { symbol, side: index % 2 === 0 ? "sell" : "buy", triggerPrice: index % 2 === 0 ? 1 : 1e6, closePosition: true },
    ]),
  };
}
