import { describe, expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import type { Reading } from "../../src/report/metric-source.ts";
import { METRICS, metricsText } from "../../src/report/metrics.ts";
import { botStatusOf, downBotOf, statusOf } from "../harness/status.ts";
import { promtool } from "../harness/promtool.ts";

const OWN = { cpuSeconds: 1.25, virtualBytes: 1_073_741_824, openFiles: 21, maxOpenFiles: 1_024 };

/** The status of a supervisor with these bots, as a scrape reads it. */
const readingOf = (bots?: readonly BotStatus[]): Reading => ({
  ...statusOf(bots),
  own: OWN,
  configRead: { success: true, lastSuccessAt: new Date("2026-01-01T00:00:00.000Z") },
});

/** Names and labels of every sample, without its value. */
const seriesOf = (text: string): string[] =>
  text.split("\n").flatMap((line) => (line === "" || line.startsWith("#") ? [] : line.replace(/ \S+$/, "")));

describe("METRICS", () => {
  test.each(METRICS.map((row) => [row.name, row] as const))(
    "%s is named, explained and typed by the conventions",
    (name, row) => {
      expect(name).toMatch(/^(?:supervisor|process|trading_bot)(?:_[a-z]+)+$/);
      expect(row.help).toMatch(/^[A-Z0-9].*\.$/);
      expect(row.type).toBe(name.endsWith("_total") ? "counter" : "gauge");
      // Base units only, and always named.
      expect(name).not.toMatch(/_(?:ms|milliseconds|minutes|percent|kb|mb|kilobytes|megabytes)(?:_|$)/);
      for (const label of row.labels) expect(label).toMatch(/^[a-z]+$/);
    },
  );

  test("has no name twice", () => {
    const names = METRICS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test("writes for each sample the labels that the row says, in their order", () => {
    for (const { labels, read } of METRICS)
      for (const sample of read(readingOf())) expect(Object.keys(sample.labels)).toEqual(labels);
  });
});

describe("metricsText()", () => {
  test("answers as the golden text for one running bot", async () => {
    await expect(metricsText(readingOf())).toMatchFileSnapshot("metrics.golden.txt");
  });

  test("says HELP and TYPE once for each metric, before its samples and nowhere else", () => {
    const text = metricsText(statusOf([botStatusOf(), downBotOf({ name: "other", account: "second" })]));
    const expected = METRICS.flatMap(({ name, type }) => [`# HELP ${name}`, `# TYPE ${name} ${type}`]);
    const headers = text.split("\n").filter((line) => line.startsWith("#"));
    expect(headers.map((line) => (line.startsWith("# HELP") ? line.split(" ", 3).join(" ") : line))).toEqual(expected);
    const families = text.split(/^(?=# HELP)/m).map((family) => family.trimEnd().split("\n"));
    const strangers = families.flatMap(([, type = "", ...samples]) =>
      samples.filter((line) => line.split(/[{ ]/)[0] !== type.split(" ")[2]),
    );
    expect(strangers).toEqual([]);
  });

  test("writes no series twice", () => {
    const series = seriesOf(metricsText(statusOf([botStatusOf(), downBotOf({ name: "other" })])));
    expect(new Set(series).size).toBe(series.length);
  });
});

describe("metricsText() of bots that are down, locked or named oddly", () => {
  test("keeps the series of a bot that is stopped, with 0 for what it uses and NaN for what is not known", () => {
    const stopped = metricsText(statusOf([downBotOf()]));
    expect(seriesOf(stopped)).toEqual(seriesOf(metricsText(statusOf())));
    expect(stopped).toContain('supervisor_bot_resident_memory_bytes{bot="momentum",account="main"} 0\n');
    expect(stopped).toContain('supervisor_bot_heartbeat_age_seconds{bot="momentum",account="main"} NaN\n');
    expect(stopped).toContain('supervisor_bot_state{bot="momentum",account="main",state="stopped"} 1\n');
    expect(stopped).toContain('supervisor_bot_state{bot="momentum",account="main",state="running"} 0\n');
  });

  test("keeps the CPU time of a bot that is stopped, and leaves the series out where it is not known", () => {
    const series = 'supervisor_bot_cpu_seconds_total{bot="momentum",account="main"}';
    expect(metricsText(statusOf([downBotOf()]))).toContain(`${series} 75.5\n`);
    expect(metricsText(statusOf([downBotOf({ cpuSeconds: null })]))).not.toContain(series);
  });

  test("says NaN and not 0 for a living bot that could not be measured", () => {
    expect(metricsText(statusOf([botStatusOf({ resources: null })]))).toContain(
      'supervisor_bot_resident_memory_bytes{bot="momentum",account="main"} NaN\n',
    );
  });

  test("has no sample of the supervisor's own process where nobody measured it, and NaN for what the kernel hides", () => {
    expect(metricsText(statusOf())).not.toMatch(/^process_(?:cpu|open)/m);
    const hidden = metricsText({ ...statusOf(), own: { ...OWN, openFiles: undefined } });
    expect(hidden).toContain("process_cpu_seconds_total 1.25\n");
    expect(hidden).toContain("process_open_fds NaN\n");
  });

  test("tells a lockout and the state of its emergency", () => {
    const emergency = { ...botStatusOf().emergency, state: "flat", lockedSince: "2026-01-01T00:00:30.000Z" } as const;
    const text = metricsText(statusOf([downBotOf({ state: "locked", emergency })]));
    expect(text).toContain('supervisor_bot_locked{bot="momentum",account="main"} 1\n');
    expect(text).toContain('supervisor_bot_locked_since_timestamp_seconds{bot="momentum",account="main"} 1767225630\n');
    expect(text).toContain('supervisor_bot_emergency_state{bot="momentum",account="main",state="flat"} 1\n');
    expect(text).toContain('supervisor_bot_emergency_state{bot="momentum",account="main",state="armed"} 0\n');
  });

  test("counts the closes by outcome from 0 on, and none of a bot that has no emergency section", () => {
    const { emergency } = botStatusOf();
    const off = botStatusOf({ name: "off", emergency: { ...emergency, state: "off" } });
    const closes = { flat: 1, failed: 3 };
    const text = metricsText(statusOf([botStatusOf({ emergency: { ...emergency, closes } }), off]));
    for (const ended of ['flat"} 1', 'failed"} 3', 'residual"} 0'])
      expect(text).toContain(`supervisor_emergency_close_total{bot="momentum",account="main",outcome="${ended}\n`);
    expect(text).not.toContain('supervisor_emergency_close_total{bot="off"');
  });

  test("escapes what people may write into an account", () => {
    expect(metricsText(statusOf([botStatusOf({ account: 'a"b\\c\nd' })]))).toContain(
      'supervisor_bot_ready{bot="momentum",account="a\\"b\\\\c\\nd"} 1\n',
    );
  });

  test.skipIf(promtool === undefined)("passes promtool check metrics (skipped where no promtool is installed)", () => {
    const text = metricsText(readingOf([botStatusOf(), downBotOf({ name: "other", lastExit: null })]));
    const { exitCode, stderr } = Bun.spawnSync([promtool ?? "", "check", "metrics"], { stdin: Buffer.from(text) });
    expect(stderr.toString()).toBe("");
    expect(exitCode).toBe(0);
  });
});
