/** How long a command takes from spawn to exit, beside /bin/true (what the spawner costs) and a compiled hello world (what Bun costs). */
import type { Row } from "./measure.ts";
import { ENV, startDaemon, type Options, type Rig } from "./rig.ts";

const ROUNDS = 41;
const QUICK_ROUNDS = 5;
/** The project's promise on an idle machine, ms. */
const TARGET_MS = 20;

export async function benchStart(rig: Rig, options: Options): Promise<readonly Row[]> {
  const hello = rig.compile("hello.ts");
  const daemon = await startDaemon(rig, options, { name: "start", bot: { command: ["sleep", "600"] } });
  const programs = {
    true: ["/bin/true"],
    hello: [hello],
    version: [options.supervisor, "version"],
    status: [options.supervisor, "status", "--config", daemon.config],
  };
  const times = interleave(programs, options.quick ? QUICK_ROUNDS : ROUNDS);
  const bare = { name: "a compiled Bun hello world", values: times.hello };
  return [
    {
      what: "a compiled Bun hello world",
      unit: "ms",
      values: times.hello,
      baseline: { name: "/bin/true", values: times.true },
    },
    { what: "`supervisor version`", unit: "ms", values: times.version, baseline: bare, target: TARGET_MS },
    { what: "`supervisor status`, live daemon", unit: "ms", values: times.status, baseline: bare, target: TARGET_MS },
  ];
}

/** Runs every program once per round, so that whatever slows the machine for a while slows all of them. */
function interleave<Name extends string>(
  programs: Readonly<Record<Name, readonly string[]>>,
  rounds: number,
): Record<Name, number[]> {
  // Safe: the names are those of `programs`, each with a list of its own.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const times = Object.fromEntries(Object.keys(programs).map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  // The first round only fills the page cache.
  for (let round = 0; round <= rounds; round += 1) {
    for (const name in programs) {
      const startMs = performance.now();
      const { exitCode } = Bun.spawnSync([...programs[name]], { env: ENV, stdio: ["ignore", "ignore", "ignore"] });
      const tookMs = performance.now() - startMs;
      if (exitCode !== 0) throw new Error(`cannot measure ${name}: it ended with ${exitCode}`);
      if (round > 0) times[name].push(tookMs);
    }
  }
  return times;
}
