/**
 * Runs the unit tests in several processes at once, each with one thread: they use signals, child processes and a user mask,
 * which belong to a whole process, and most of them wait. Arguments go to vitest, and then there is one process.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";

/** One more than there are cores, since most tests wait; more than this cost memory and gain nothing. */
const MAX_SHARDS = 5;

const root = join(import.meta.dirname, "..");
const given = process.argv.slice(2);
const shards = given.length > 0 ? 1 : Math.min(availableParallelism() + 1, MAX_SHARDS);

async function run(shard: number): Promise<number> {
  const child = Bun.spawn(
    [
      process.execPath,
      "--bun",
      "vitest",
      "run",
      "--project",
      "unit",
      "--maxWorkers=1",
      `--shard=${shard}/${shards}`,
      ...given,
    ],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  // As a whole, so that the lines of two do not mix.
  process.stdout.write(out);
  process.stderr.write(err);
  return code;
}

const codes = await Promise.all(Array.from({ length: shards }, (_, index) => run(index + 1)));
process.exit(Math.max(...codes));
