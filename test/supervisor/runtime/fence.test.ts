import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { Census } from "../../../src/platform/census.ts";
import { systemClock as clock } from "../../../src/platform/clock.ts";
import { isLive, readStat } from "../../../src/platform/proc.ts";
import type { TreeMarks } from "../../../src/platform/tree.ts";
import { doubtfulIn, doubtText, killAll, leftOf, withoutSessions } from "../../../src/supervisor/runtime/fence.ts";
import { until } from "../../platform/until.ts";

const endings: (() => Promise<void>)[] = [];
const sleepers: { kill: (signal: "SIGKILL") => void; exited: Promise<number> }[] = [];
afterEach(async () => {
  for (const sleeper of sleepers) sleeper.kill("SIGKILL");
  await Promise.all([...sleepers.splice(0).map(({ exited }) => exited), ...endings.splice(0).map((end) => end())]);
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

/** The start of an earlier supervisor whose main process has ended, and what it left in its session without a mark. */
async function ended() {
  const leader = Bun.spawn({
    cmd: ["env", "-i", "sh", "-c", "sleep 60 & echo $!"],
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const root = readStat(leader.pid) ?? { pid: leader.pid, startTicks: 0 };
  const { value } = await leader.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value));
  const end = async (): Promise<void> => {
    if (isLive(pid)) process.kill(pid, "SIGKILL");
    await until("it has ended", () => !isLive(pid));
  };
  endings.push(end);
  await leader.exited;
  const earlier: TreeMarks = { ...marks(bot().start()), root, session: "unwatched" };
  return { earlier, pid, end };
}

describe("killAll()", () => {
  test("answers whom a main process that ended unwatched has left in its session, and leaves him alone", async () => {
    const { earlier, pid, end } = await ended();
    const fence = [marks(bot().lasting), earlier];
    expect(await killAll(fence, clock)).toEqual([pid]);
    expect(isLive(pid)).toBe(true);
    expect(doubtfulIn(fence)).toEqual([pid]);
    expect(doubtText([pid], fence)).toContain(
      `pid ${pid}, which is in the session of main process ${earlier.root?.pid}`,
    );
    expect(doubtText([], fence)).toBe(undefined);
    await end();
    expect(await killAll(fence, clock)).toEqual([]);
  });

  test("leaves a session of that number out of account once its own is over", async () => {
    const { earlier } = await ended();
    expect(await killAll([{ ...earlier, session: "over" }], clock)).toEqual([]);
  });
});

describe("withoutSessions()", () => {
  test("takes a session for over once nobody is left of it", async () => {
    const { earlier, end } = await ended();
    expect(withoutSessions([earlier, marks()])).toEqual([earlier, marks()]);
    await end();
    expect(withoutSessions([earlier, marks()])).toEqual([{ ...earlier, session: "over" }, marks()]);
  });
});
