/** How soon a killed bot acts again under the supervisor, beside the shell loop that people use instead. */
import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./measure.ts";
import { startDaemon, type Options, type Rig } from "./rig.ts";

const ROUNDS = 31;
const QUICK_ROUNDS = 3;
/** Pause before each kill, ms, so that what was started has settled. */
const SETTLE_MS = 150;
/** Longest wait for the next bot, ms, and the time between two looks. */
const PATIENCE_MS = 10_000;
const POLL_MS = 0.1;

export async function benchRestart(rig: Rig, options: Options): Promise<readonly Row[]> {
  const folder = rig.folderFor("restart");
  const supervised = new Pids(join(folder, "supervised"));
  const looped = new Pids(join(folder, "looped"));
  try {
    // The shortest delay that the config allows above none; jitter could only add to it.
    const restart = { base: "1ms", cap: "1ms", factor: 1, jitter: 0, intensity: 1_000 };
    await startDaemon(rig, options, { name: "daemon", bot: { command: ["sh", supervised.script], restart } });
    const loop = rig.spawn(["sh", "-c", `while :; do sh ${looped.script}; done`]);
    let [bot, other] = [supervised.next(), looped.next()];
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let round = 0; round < (options.quick ? QUICK_ROUNDS : ROUNDS); round += 1) {
      await Bun.sleep(SETTLE_MS);
      ours.push(timed(() => (bot = supervised.after(bot))));
      await Bun.sleep(SETTLE_MS);
      theirs.push(timed(() => (other = looped.after(other))));
    }
    // Nobody sweeps behind a shell loop.
    loop.kill("SIGKILL");
    process.kill(other, "SIGKILL");
    return [
      {
        what: "restart with `base: 1ms`",
        unit: "ms",
        values: ours,
        baseline: { name: "`while :; do bot; done` in sh", values: theirs },
      },
    ];
  } finally {
    supervised.close();
    looped.close();
  }
}

function timed(deed: () => void): number {
  const startMs = performance.now();
  deed();
  return performance.now() - startMs;
}

/** The pids that the starts of one bot report: its first act is to write its pid into a FIFO, read here without a thread between. */
class Pids {
  readonly script: string;
  readonly #fd: number;

  constructor(path: string) {
    this.script = `${path}.sh`;
    Bun.spawnSync(["mkfifo", path]);
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    writeFileSync(this.script, `echo $$ >${path}\nexec sleep 600\n`);
  }

  /** Kills `pid` and waits for the next one. */
  after(pid: number): number {
    process.kill(pid, "SIGKILL");
    return this.next();
  }

  next(): number {
    const giveUpAtMs = performance.now() + PATIENCE_MS;
    const bytes = Buffer.alloc(64);
    while (performance.now() < giveUpAtMs) {
      const read = this.#read(bytes);
      if (read > 0) return Number(bytes.toString("latin1", 0, read));
      // Not a timer: the event loop would add its own delay to the measurement.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
    }
    throw new Error(`cannot go on: no bot started within ${PATIENCE_MS} ms`);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #read(bytes: Buffer): number {
    try {
      return readSync(this.#fd, bytes);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
      throw error;
    }
  }
}
