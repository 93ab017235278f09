/**
 * `bun run chaos`: the chaos suite; with --minutes, --seed or --steps, seeded faults on the compiled binary instead, which the
 * same seed repeats in the same order; with --list, their names.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const root = join(import.meta.dirname, "..");
const MINUTE_MS = 60_000;
const MAX_SEED = 2 ** 31;
const DEFAULT_MINUTES = 5;

const args = process.argv.slice(2);
const isOurs = args.some((arg) => /^--(?:seed|minutes|steps|list)\b/.test(arg));
const { values } = parseArgs({
  args: isOurs ? args : [],
  options: {
    seed: { type: "string" },
    minutes: { type: "string" },
    steps: { type: "string" },
    list: { type: "boolean", default: false },
  },
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A number of the command line, above `least`; anything else ends the script. */
function numberOf(name: "seed" | "minutes" | "steps", fallback: number): number {
  const text = values[name];
  const number = text === undefined ? fallback : Number(text);
  if (Number.isFinite(number) && number >= 0) return number;
  process.stderr.write(`cannot use --${name} ${text}: it is not a number\n`);
  return process.exit(2);
}

async function seeded(): Promise<number> {
  const { runFaults } = await import("../test/chaos/seeded/runner.ts");
  const seed = Math.floor(numberOf("seed", Math.floor(Math.random() * MAX_SEED)));
  const maxSteps = numberOf("steps", Number.MAX_SAFE_INTEGER);
  const minutes = numberOf("minutes", values.steps === undefined ? DEFAULT_MINUTES : Number.MAX_SAFE_INTEGER);
  const given = process.env["SUPERVISOR_BINARY"] ?? join(root, "dist", "supervisor");
  if (!existsSync(given)) {
    process.stderr.write(`cannot find ${given}: run bun run build first\n`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), "sv-binary-"));
  const binary = join(folder, "supervisor");
  copyFileSync(given, binary);
  say(`seeded faults, seed ${seed}`);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  try {
    const held = await runFaults({ binary, seed, durationMs: minutes * MINUTE_MS, maxSteps, say, signal: stop.signal });
    if (stop.signal.aborted) say("interrupted");
    say(held ? `every invariant held, seed ${seed}` : `an invariant was violated, seed ${seed}`);
    return held ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function list(): Promise<number> {
  const { faults } = await import("../test/chaos/seeded/runner.ts");
  for (const { name } of faults) say(name);
  return 0;
}

function suite(): number {
  const cmd = [process.execPath, "--bun", join(root, "node_modules/.bin/vitest"), "run", "--project", "chaos"];
  const { exitCode } = Bun.spawnSync([...cmd, ...args], { cwd: root, stdio: ["inherit", "inherit", "inherit"] });
  return exitCode;
}

if (!isOurs) process.exitCode = suite();
else process.exitCode = values.list ? await list() : await seeded();
