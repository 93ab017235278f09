import { describe, expect, test } from "vitest";
import { BotUsage } from "../../../src/supervisor/runtime/bot-usage.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

/** A start of this very process, which counts how often somebody asks for its processes. */
function start(pids: () => readonly number[] = () => [process.pid]) {
  let looks = 0;
  const treePids = (): readonly number[] => {
    looks += 1;
    return pids();
  };
  const generation = { treePids, botCgroup: undefined };
  return { generation, looks: () => looks };
}

function rig() {
  const clock = new FakeClock();
  const limits = { memoryBytes: 1_048_576, oomKills: 2 };
  return { clock, usage: new BotUsage(clock, limits) };
}

describe("BotUsage", () => {
  test("status() measures the processes and names the limits", async () => {
    const { usage } = rig();
    const { resources } = await usage.status(start().generation);
    expect(resources).toMatchObject({ pids: 1, memoryLimitBytes: 1_048_576, oomKills: 2 });
    expect(resources?.rssBytes).toBeGreaterThan(1_048_576);
  });

  test("status() gives a reading again within a second, and then reads anew", async () => {
    const { clock, usage } = rig();
    const { generation, looks } = start();
    await Promise.all([usage.status(generation), usage.status(generation)]);
    clock.advance(999);
    await usage.status(generation);
    expect(looks()).toBe(1);
    clock.advance(1);
    await usage.status(generation);
    expect(looks()).toBe(2);
  });

  test("status() reads a new start at once", async () => {
    const { usage } = rig();
    const [first, second] = [start(), start(() => [])];
    await usage.status(first.generation);
    const { resources } = await usage.status(second.generation);
    expect(resources?.pids).toBe(0);
  });

  test("status() of no start shows no resources and keeps the CPU time of those before", async () => {
    const { usage } = rig();
    const { cpuSeconds } = await usage.status(start().generation);
    expect(await usage.status(undefined)).toEqual({ resources: null, cpuSeconds });
  });

  test("status() does not keep a reading that failed", async () => {
    const { usage } = rig();
    let broken = true;
    const { generation } = start(() => {
      if (broken) throw new Error("no descriptors left");
      return [process.pid];
    });
    expect(await usage.status(generation)).toEqual({ resources: null, cpuSeconds: null });
    broken = false;
    expect((await usage.status(generation)).resources).toMatchObject({ pids: 1 });
  });
});
