/** Failures of real probes that do not count against the bot: in a disturbance, and when what fails is elsewhere. */
import { describe, expect, test } from "vitest";
import type { Disturbance } from "../../../src/core/excuse.ts";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";
import { createProbe, probeSchema } from "../../../src/probes/index.ts";
import { Schedule, excusedText } from "../../../src/supervisor/runtime/schedule.ts";
import { probeContext } from "../../harness/probe-context.ts";
import { until } from "../../platform/until.ts";

/** A bot's probes, run for real; `venue` and `bot` say how two HTTP servers answer. */
function rig(
  configs: readonly object[],
  facts: { clock?: Clock; disturbance?: () => Disturbance | undefined; beating?: boolean } = {},
) {
  const answers = { venue: 200, bot: 200 };
  const serve = (which: keyof typeof answers) =>
    Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("", { status: answers[which] }) });
  const servers = { venue: serve("venue"), bot: serve("bot") };
  const probes = configs.map((config) =>
    probeSchema.parse(
      JSON.parse(
        JSON.stringify({ period: "50ms", timeout: "2s", failureThreshold: 2, ...config })
          .replace("VENUE", `127.0.0.1:${servers.venue.port}`)
          .replace("BOT", `127.0.0.1:${servers.bot.port}`),
      ),
    ),
  );
  const excused: string[] = [];
  const schedule = new Schedule(probes, {
    clock: facts.clock ?? systemClock,
    createProbe: (config) => createProbe(config, probeContext({ armedAtMs: () => systemClock.monotonicMs() })),
    disturbance: facts.disturbance ?? (() => undefined),
    beating: () => facts.beating ?? true,
    onExcused: (probe) => excused.push(excusedText(probe)),
    beforeRun: () => {},
    onVerdict: () => {},
    onHealth: () => {},
    onStartupPassed: () => {},
  });
  schedule.arm();
  const of = (name: string) => schedule.views.find(({ config }) => config.name === name);
  const stop = async (): Promise<void> => {
    schedule.stop();
    await Promise.all(Object.values(servers).map((server) => server.stop(true)));
  };
  return { answers, excused, of, schedule, [Symbol.asyncDispose]: stop };
}

const ask = (name: string, host: string, more: object = {}): object => ({
  kind: "http",
  name,
  url: `http://${host}/`,
  ...more,
});
const venue = ask("venue", "VENUE", { upstream: true, role: "readiness", onFailure: "degrade" });
const health = ask("health", "BOT");

/** Its monotonic time passes a hundred times as fast as its timers go, so that no test waits for an excuse to end. */
const hastyClock: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 100 };
const alwaysPressed = (): Disturbance => ({ reason: "machine: pressed", endMs: hastyClock.monotonicMs() });

describe("Schedule", () => {
  test("a bot that answers 503 because its exchange is down stays healthy, and is judged again afterwards", async () => {
    await using bot = rig([venue, health]);
    await until("the bot is healthy", () => bot.schedule.health === "healthy");
    bot.answers.venue = 502;
    await until("the venue is down", () => bot.of("venue")?.record.verdict === "unhealthy");
    bot.answers.bot = 503;
    await until("its failure is excused", () => bot.of("health")?.result?.kind === "unknown");
    expect(bot.of("health")?.result).toMatchObject({
      reason: expect.stringMatching(/^remote: venue fails too \(.*status 502\); .*status 503$/),
    });
    expect(bot.schedule.health).toBe("healthy");
    expect(bot.excused).toEqual([
      expect.stringMatching(/^probe health fails, which does not count against the bot: remote/),
    ]);
    bot.answers.venue = 200;
    await until("the bot is unhealthy", () => bot.schedule.health === "unhealthy");
  });

  test("a bot that does not beat is judged by its own answer, whatever its exchange does", async () => {
    await using bot = rig([venue, health], { beating: false });
    bot.answers.venue = 502;
    bot.answers.bot = 503;
    await until("the bot is unhealthy", () => bot.schedule.health === "unhealthy");
    expect(bot.excused).toEqual([]);
  });

  test("a liveness probe of an upstream never makes a bot unhealthy", async () => {
    await using bot = rig([ask("venue", "VENUE", { upstream: true }), health]);
    await until("the bot is healthy", () => bot.schedule.health === "healthy");
    bot.answers.venue = 502;
    await until("the failure of the venue is excused", () => bot.of("venue")?.result?.kind === "unknown");
    const last = bot.of("venue")?.lastAt;
    await until("the venue is asked again", () => (bot.of("venue")?.lastAt ?? 0) > (last ?? 0));
    expect(bot.schedule.health).toBe("healthy");
    expect(bot.excused).toHaveLength(1);
  });

  test("a disturbance makes failures unknown, and only for so long", async () => {
    await using bot = rig([health], { clock: hastyClock, disturbance: alwaysPressed });
    bot.answers.bot = 500;
    await until("its failure is excused", () => bot.of("health")?.result?.kind === "unknown");
    expect(bot.of("health")?.result).toMatchObject({ reason: expect.stringContaining("machine: pressed; GET http") });
    await until("the bot is unhealthy", () => bot.schedule.health === "unhealthy");
    expect(bot.excused).toHaveLength(1);
  });
});
