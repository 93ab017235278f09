/**
 * `bun run check`: types, linter, formatter and dead code (`bun run lint`), and beside them the unit tests, which wait for
 * much of their time. Each is run whatever the other says; the exit code tells whether all was well.
 */
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

async function run(args: readonly string[]): Promise<number> {
  const child = Bun.spawn([process.execPath, ...args], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const code = await child.exited;
  if (code !== 0) process.stderr.write(`failed: bun ${args.join(" ")}\n`);
  return code;
}

const codes = await Promise.all([run(["run", "lint"]), run(["scripts/unit.ts"])]);
process.exit(Math.max(...codes));
