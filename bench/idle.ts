/** Memory and CPU time of daemons that only watch one sleeping bot each, beside compiled Bun programs that only wait. */
import { cpuMs, rssMib } from "./load.ts";
import type { Row } from "./measure.ts";
import { ENV, startDaemon, type Options, type Rig } from "./rig.ts";

/** Daemons that idle at the same time: resident pages count for each process that maps them, so they do not disturb each other. */
const DAEMONS = 15;
const QUICK_DAEMONS = 2;
/** The project's promise, MiB. */
const TARGET_MIB = 45;

/** Seconds of: the first wait, the span of CPU time, the wait after five `status` (the daemon releases pages each half minute). */
const SPANS = { settle: 10, cpu: 30, after: 65 };
const QUICK_SPANS = { settle: 1, cpu: 1, after: 1 };

export async function benchIdle(rig: Rig, options: Options): Promise<readonly Row[]> {
  const spans = options.quick ? QUICK_SPANS : SPANS;
  const wait = rig.compile("wait.ts");
  const bare: number[] = [];
  const configs: string[] = [];
  const daemons: number[] = [];
  for (let i = 0; i < (options.quick ? QUICK_DAEMONS : DAEMONS); i += 1) {
    bare.push(rig.spawn([wait]).pid);
    const daemon = await startDaemon(rig, options, { name: `idle${i}`, bot: { command: ["sleep", "600"] } });
    daemons.push(daemon.process.pid);
    configs.push(daemon.config);
  }
  await Bun.sleep(spans.settle * 1_000);
  const first = { daemons: daemons.map(rssMib), bare: bare.map(rssMib) };
  const [before, bareBefore] = [daemons.map(cpuMs), bare.map(cpuMs)];
  await Bun.sleep(spans.cpu * 1_000);
  const share = (pid: number, i: number, from: readonly number[]): number =>
    (cpuMs(pid) - (from[i] ?? 0)) / (spans.cpu * 10);
  const cpu = daemons.map((pid, i) => share(pid, i, before));
  const bareCpu = bare.map((pid, i) => share(pid, i, bareBefore));
  for (const config of configs) askFiveTimes(options, config);
  await Bun.sleep(spans.after * 1_000);
  return [
    {
      what: `resident memory after ${spans.settle} s`,
      unit: "MiB",
      values: first.daemons,
      baseline: baseline(first.bare),
      target: TARGET_MIB,
    },
    {
      what: `resident memory ${spans.after} s after 5 \`status\``,
      unit: "MiB",
      values: daemons.map(rssMib),
      baseline: baseline(bare.map(rssMib)),
      target: TARGET_MIB,
    },
    { what: `CPU time over ${spans.cpu} s`, unit: "% of a core", values: cpu, baseline: baseline(bareCpu) },
  ];
}

const baseline = (values: readonly number[]) => ({ name: "a compiled Bun program that only waits", values });

function askFiveTimes({ supervisor }: Options, config: string): void {
  for (let i = 0; i < 5; i += 1)
    Bun.spawnSync([supervisor, "status", "--config", config], { env: ENV, stdout: "ignore" });
}
