import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Census } from "../../../src/platform/census.ts";
import { readStat } from "../../../src/platform/proc.ts";
import type { TreeMarks } from "../../../src/platform/tree.ts";
import { leftOf } from "../../../src/supervisor/runtime/fence.ts";
import { until } from "../../platform/until.ts";

const sleepers: { kill: (signal: "SIGKILL") => void; exited: Promise<number> }[] = [];
afterEach(async () => {
  for (const sleeper of sleepers) sleeper.kill("SIGKILL");
  await Promise.all(sleepers.splice(0).map(({ exited }) => exited));
});

function marks(...environ: readonly string[]): TreeMarks {
  return { environ, cgroup: undefined, root: undefined, known: [] };
}

/** The lasting mark of a bot, and a start of it. */
function bot() {
  return { lasting: `SUPERVISOR_SOCKET=/run/${randomUUID()}.sock`, start: () => `INVOCATION_ID=${randomUUID()}` };
}

/** A process with these words in its environment, past its exec. */
async function live(...environ: readonly string[]): Promise<number> {
  const env = Object.fromEntries(environ.map((entry) => entry.split("=", 2)));
  const child = Bun.spawn({ cmd: ["sh", "-c", "echo up; exec sleep 60"], env: { ...env, PATH: process.env["PATH"] } });
  sleepers.push(child);
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("up\n");
  await until("it is past its exec", () => readStat(child.pid)?.comm === "sleep");
  return child.pid;
}

describe("leftOf()", () => {
  test("names nobody where only strangers live", async () => {
    const { lasting } = bot();
    await live(bot().lasting);
    expect(leftOf([marks(lasting)], [], new Census())).toEqual([]);
  });

  test("names what lives of earlier days while the bot has no start", async () => {
    const { lasting, start } = bot();
    const old = await live(lasting, start());
    expect(leftOf([marks(bot().lasting), marks(lasting)], [], new Census())).toEqual([old]);
  });

  test("does not take the present start for one of earlier days, whose lasting mark it carries", async () => {
    const { lasting, start } = bot();
    const now = start();
    await live(lasting, now);
    expect(leftOf([marks(lasting)], [marks(now)], new Census())).toEqual([]);
  });

  test("names one of an earlier start beside the present one, also if it is the younger process", async () => {
    const { lasting, start } = bot();
    const [before, now] = [start(), start()];
    const root = readStat(await live(lasting, now));
    const old = await live(lasting, before);
    expect(leftOf([marks(lasting)], [{ ...marks(now), root }], new Census())).toEqual([old]);
  });
});
