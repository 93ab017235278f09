/** The soft stage of a bot's memory over a reload, on the memory of the test's own process. */
import { expect, test } from "vitest";
import { initialState } from "../../../src/core/lifecycle.ts";
import { limitsSchema } from "../../../src/core/limits.ts";
import { BotLimits } from "../../../src/supervisor/runtime/bot-limits.ts";
import { basePolicy } from "../../core/lifecycle-life.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const CONTROLLERS = {
  mode: "hybrid",
  places: { memory: { version: "v1", folder: "/nowhere" } },
  obstacles: {},
} as const;
const HIGH = { memoryHigh: "1MiB", onMemoryHigh: "restart", quietTimeout: "30s" };

function rig() {
  const clock = new FakeClock();
  const alerts: string[] = [];
  const fact = (level: string, text: string): void => void (level === "alert" && alerts.push(text));
  const limits = new BotLimits({
    limits: limitsSchema.parse(HIGH),
    controllers: CONTROLLERS,
    user: undefined,
    cgroupName: "bot-bot-test",
    clock,
    fact,
  });
  return { clock, alerts, limits, look: () => limits.look(() => [process.pid]) };
}

const running = { ...initialState, kind: "running", health: "healthy" } as const;

test("a reload does not take a bot out of the soft stage, and does not begin its wait for a quiet moment anew", () => {
  const { clock, alerts, limits, look } = rig();
  expect(look()).toBe(true);
  expect(limits.relief(1, running, basePolicy)).toBeUndefined();
  clock.advance(20_000);
  limits.change(limitsSchema.parse({ ...HIGH, cpu: "50%" }), CONTROLLERS);
  expect(limits.strained).toBe(true);
  expect(look()).toBe(false);
  expect(alerts).toHaveLength(1);
  clock.advance(10_000);
  expect(limits.relief(1, running, basePolicy)).toContain("no quiet moment in 30s");
});

test("a reload with a limit that is far away ends the soft stage at the next look, one without limits at once", () => {
  const { limits, look } = rig();
  look();
  limits.change(limitsSchema.parse({ ...HIGH, memoryHigh: "64GiB" }), CONTROLLERS);
  expect([look(), limits.strained]).toEqual([true, false]);
  limits.change(limitsSchema.parse(HIGH), CONTROLLERS);
  expect([look(), limits.strained]).toEqual([true, true]);
  limits.change(undefined, CONTROLLERS);
  expect(limits.strained).toBe(false);
});
