/** A crash dump of a hung bot with 1 GiB of memory, beside one of a bot with next to none: from the request until the file is whole, and its size. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./measure.ts";
import { startDaemon, until, type Options, type Rig } from "./rig.ts";

const ROUNDS = 7;
const QUICK_ROUNDS = 2;
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
/** The project's promises. */
const TARGET_MS = 2_000;
const TARGET_MIB = 20;

/** Writes to each of its pages, says so by a file, and turns in circles. */
function hungBot(bytes: number, said: string): string[] {
  const program = `const held = new Uint8Array(${bytes}); held.fill(7); require("node:fs").writeFileSync(${JSON.stringify(said)}, ""); for (;;) held[0] ^= 1;`;
  return [process.execPath, "-e", program];
}

export async function benchDump(rig: Rig, options: Options): Promise<readonly Row[]> {
  const rounds = options.quick ? QUICK_ROUNDS : ROUNDS;
  const large = await dumpsOf(rig, options, { name: "large", bytes: GIB, rounds });
  const small = await dumpsOf(rig, options, { name: "small", bytes: MIB, rounds });
  return [
    {
      what: "dump of a hung bot with 1 GiB",
      unit: "ms",
      values: large.ms,
      baseline: { name: "the same with 1 MiB", values: small.ms },
      target: TARGET_MS,
      targetOf: "worst",
    },
    {
      what: "its size",
      unit: "MiB",
      values: large.mib,
      baseline: { name: "the same with 1 MiB", values: small.mib },
      target: TARGET_MIB,
      targetOf: "worst",
    },
  ];
}

interface Round {
  readonly name: string;
  readonly bytes: number;
  readonly rounds: number;
}

async function dumpsOf(
  rig: Rig,
  options: Options,
  { name, bytes, rounds }: Round,
): Promise<{ readonly ms: readonly number[]; readonly mib: readonly number[] }> {
  const said = join(rig.folder, `${name}-holds`);
  const bot = { command: hungBot(bytes, said), dump: { minFree: "1MiB", minFreeRatio: 0 } };
  const daemon = await startDaemon(rig, options, { name, bot });
  await until("the bot holds its memory", () => existsSync(said) || undefined);
  const ms: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startMs = performance.now();
    const answer = await daemon.call("POST", "/v1/bots/bot/dump");
    if (typeof answer !== "object" || answer === null || !("file" in answer))
      throw new Error(`cannot dump: ${JSON.stringify(answer)}`);
    ms.push(performance.now() - startMs);
  }
  const folder = join(rig.folder, name, ".supervisor", "dumps");
  const files = readdirSync(folder).filter((file) => file.endsWith(".tar.zst"));
  daemon.process.kill("SIGTERM");
  await daemon.process.exited;
  return { ms, mib: files.map((file) => statSync(join(folder, file)).size / MIB) };
}
