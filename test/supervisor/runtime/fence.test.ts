import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Census } from "../../../src/platform/census.ts";
import { readStat } from "../../../src/platform/proc.ts";
import type { TreeMarks } from "../../../src/platform/tree.ts";
import { isOver } from "../../../src/supervisor/runtime/fence.ts";

const sleepers: { kill: (signal: "SIGKILL") => void; exited: Promise<number> }[] = [];
afterEach(async () => {
  for (const sleeper of sleepers) sleeper.kill("SIGKILL");
  await Promise.all(sleepers.splice(0).map(({ exited }) => exited));
});

function marks(...environ: readonly string[]): TreeMarks {
  return { environ, cgroup: undefined, root: undefined, known: [] };
}

function mark(): string {
  return `FENCE_TEST=${randomUUID()}`;
}

/** A process with these words in its environment, past its exec. */
async function live(...environ: readonly string[]): Promise<number> {
  const env = Object.fromEntries(environ.map((entry) => entry.split("=", 2)));
  const child = Bun.spawn({ cmd: ["sh", "-c", "echo up; exec sleep 60"], env: { ...env, PATH: process.env["PATH"] } });
  sleepers.push(child);
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("up\n");
  while (readStat(child.pid)?.comm !== "sleep") await Bun.sleep(1);
  return child.pid;
}

describe("isOver()", () => {
  test("is true where nobody carries a mark of earlier days", async () => {
    const present = mark();
    await live(present);
    expect(isOver([marks(mark()), marks(mark())], [marks(present)], new Census())).toBe(true);
  });

  test("is false while one of earlier days lives", async () => {
    const earlier = mark();
    await live(earlier);
    expect(isOver([marks(mark()), marks(earlier)], [marks(mark())], new Census())).toBe(false);
  });

  test("does not take the present start for one of earlier days, whose marks it carries as well", async () => {
    const [bot, now] = [mark(), `FENCE_TEST_START=${randomUUID()}`];
    await live(bot, now);
    expect(isOver([marks(bot)], [marks(now)], new Census())).toBe(true);
  });

  test("is false for a second process that only the earlier marks name", async () => {
    const [bot, now] = [mark(), `FENCE_TEST_START=${randomUUID()}`];
    await live(bot, now);
    await live(bot);
    expect(isOver([marks(bot)], [marks(now)], new Census())).toBe(false);
  });
});
