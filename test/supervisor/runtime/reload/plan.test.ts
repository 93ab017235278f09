/** What a reload would do, from two config files; and that the documentation shows the tables it follows. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { initialState } from "../../../../src/core/lifecycle.ts";
import { Loop } from "../../../../src/supervisor/runtime/loop.ts";
import { Pulse } from "../../../../src/supervisor/runtime/pulse.ts";
import { refusalOf } from "../../../../src/supervisor/runtime/reload/refusals.ts";
import { basePolicy } from "../../../core/lifecycle-life.ts";
import { FakeClock } from "../../../harness/fake-clock.ts";
import { loadConfig, type Config } from "../../../../src/supervisor/runtime/config/load.ts";
import { planReload, unclosedText, type BotChange } from "../../../../src/supervisor/runtime/reload/plan.ts";
import { botRules, limitRules, topRules, type Rule } from "../../../../src/supervisor/runtime/reload/rules.ts";

const dir = mkdtempSync(join(tmpdir(), "reload-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const heartbeat = (timeout: string): object => ({ kind: "heartbeat", timeout });
const tcp = (port: number): object => ({ kind: "tcp", port });
const emergency = { exchange: "binanceusdm", apiKeyFile: "k", apiSecretFile: "s" };

function configOf(bots: Readonly<Record<string, object>>, top: object = {}): Config {
  const file = join(dir, "supervisor.yaml");
  const all = Object.entries(bots).map(([name, bot]) => [name, { command: ["x"], ...bot }]);
  writeFileSync(file, JSON.stringify({ version: 1, ...top, bots: Object.fromEntries(all) }));
  return loadConfig({ file, env: {} }).config;
}

/** The change of one bot between two definitions; `undefined` when there is none. */
function changeOf(before: object, after: object): BotChange | undefined {
  return planReload(configOf({ bot: before }), configOf({ bot: after }), () => undefined).bots[0];
}

describe("planReload()", () => {
  test.each<[string, object, object, BotChange["meaning"], readonly string[]]>([
    ["the command", {}, { command: ["y"] }, "restart", ["command"]],
    ["a variable", { env: { A: "1" } }, { env: { A: "2" } }, "restart", ["env.A"]],
    ["the folder", {}, { cwd: "/" }, "restart", ["cwd"]],
    ["the account", {}, { account: "other" }, "restart", ["account"]],
    ["a delay", {}, { restart: { base: "2s" } }, "in place", ["restart.base"]],
    ["a hook", {}, { preStop: ["y"] }, "in place", ["preStop"]],
    [
      "closeAfter",
      { emergency },
      { emergency: { ...emergency, closeAfter: "1m" } },
      "in place",
      ["emergency.closeAfter"],
    ],
    ["a new emergency section", {}, { emergency }, "in place", ["emergency"]],
    ["a new probe", {}, { probes: [tcp(1)] }, "in place", ["probes.tcp"]],
    ["a changed probe", { probes: [tcp(1)] }, { probes: [tcp(2)] }, "in place", ["probes.tcp.port"]],
    ["a heartbeat that the bot is not told of", {}, { probes: [heartbeat("60s")] }, "restart", ["probes.heartbeat"]],
    [
      "a shorter heartbeat",
      { probes: [heartbeat("60s")] },
      { probes: [heartbeat("30s")] },
      "restart",
      ["probes.heartbeat.timeout"],
    ],
    [
      "a longer heartbeat",
      { probes: [heartbeat("30s")] },
      { probes: [heartbeat("60s")] },
      "in place",
      ["probes.heartbeat.timeout"],
    ],
    ["a heartbeat that goes", { probes: [heartbeat("30s")] }, {}, "in place", ["probes.heartbeat"]],
    ["more memory", { limits: { memory: "1GiB" } }, { limits: { memory: "2GiB" } }, "in place", ["limits.memory"]],
    [
      "a new limit",
      { limits: { memory: "1GiB" } },
      { limits: { memory: "1GiB", pids: 9 } },
      "restart",
      ["limits.pids"],
    ],
    ["limits where there were none", {}, { limits: { pids: 9 } }, "restart", ["limits"]],
    ["open files", { limits: { openFiles: 8 } }, { limits: { openFiles: 9 } }, "restart", ["limits.openFiles"]],
    [
      "one that restarts among others",
      {},
      { stopTimeout: "1s", command: ["y"] },
      "restart",
      ["command", "stopTimeout"],
    ],
  ])("says what a change of %s means", (_name, before, after, meaning, keys) => {
    const change = changeOf(before, after);
    expect(change).toMatchObject({ name: "bot", meaning });
    expect(change?.changes.map(({ key }) => key).toSorted()).toEqual(keys);
  });
});

describe("planReload() over whole configs", () => {
  test("replaces a bot whose account or user changes, and no other", () => {
    expect(changeOf({}, { account: "other" })).toMatchObject({ replaced: true });
    expect(changeOf({}, { user: "nobody" })).toMatchObject({ replaced: true });
    expect(changeOf({}, { command: ["y"] })).toMatchObject({ replaced: false });
  });

  test("finds nothing where the file says the same in other words", () => {
    const before = { env: { A: "1", B: "2" }, stopTimeout: "60s", probes: [tcp(1), heartbeat("60s")] };
    const after = { env: { B: "2", A: "1" }, stopTimeout: "1m", account: "bot", probes: [heartbeat("1m"), tcp(1)] };
    expect(changeOf(before, after)).toBeUndefined();
  });

  test("spells values as the config does and hides those that may be secret", () => {
    const change = changeOf(
      { env: { KEY: "hush" }, stopTimeout: "5s" },
      { env: { KEY: "hush-hush" }, stopTimeout: "90s" },
    );
    expect(change?.changes).toContainEqual({ key: "stopTimeout", before: "5s", after: "90s", meaning: "in place" });
    expect(change?.changes).toContainEqual({
      key: "env.KEY",
      before: "(hidden)",
      after: "(hidden)",
      meaning: "restart",
    });
    expect(JSON.stringify(change?.changes)).not.toContain("hush");
  });

  test("tells who comes and who goes", () => {
    const { bots } = planReload(configOf({ a: {}, b: {} }), configOf({ b: {}, c: {} }), () => undefined);
    expect(bots.map(({ name, meaning }) => [name, meaning])).toEqual([
      ["a", "removed"],
      ["c", "added"],
    ]);
  });

  test("tells what only a restart of the supervisor changes", () => {
    const after = configOf({ a: {} }, { logDir: "other", metrics: { listen: "127.0.0.1:0" } });
    const { changes } = planReload(configOf({ a: {} }), after, () => undefined);
    expect(changes.map(({ key, meaning }) => [key, meaning])).toEqual([
      ["logDir", "supervisor"],
      ["metrics", "in place"],
    ]);
  });

  test("restarts a bot that runs otherwise than the config says, although the config is the same", () => {
    const config = configOf({ a: {}, b: {} });
    const stale = { key: "envFile", before: "old", after: "new", meaning: "restart" } as const;
    const { bots } = planReload(config, config, ({ name }) => (name === "b" ? stale : undefined));
    expect(bots).toMatchObject([{ name: "b", meaning: "restart", changes: [stale] }]);
  });
});

/** The rows of a table, by key. */
function rows(rules: Readonly<Record<string, Rule>>, prefix = ""): [string, string][] {
  return Object.entries(rules).map(([key, { meaning, shown, words }]) => {
    const what = shown ?? (typeof meaning === "string" ? meaning : "");
    return [`${prefix}${key}`, `| \`${prefix}${key}\` | ${what} |${words === "" ? "" : ` ${words}`} |`];
  });
}

function unclosed(before: object, after: Readonly<Record<string, object>>): string | undefined {
  const config = configOf(after);
  const plan = planReload(configOf({ bot: before }), config, () => undefined);
  return plan.bots.flatMap((each) => unclosedText(each, config) ?? [])[0];
}

describe("unclosedText()", () => {
  const other = { other: {} };

  test.each<[string, object, Readonly<Record<string, object>>]>([
    ["is removed", { emergency, account: "main" }, other],
    ["moves to another account", { emergency, account: "main" }, { bot: { emergency, account: "next" } }],
    ["loses its emergency section", { emergency, account: "main" }, { bot: { account: "main" } }],
    ["leaves its account to one without the section", { emergency, account: "main" }, { other: { account: "main" } }],
  ])("tells whose positions nobody closes any more when a bot %s", (_, before, after) => {
    expect(unclosed(before, after)).toContain("what is open on account main is closed by nobody any more");
  });

  test.each<[string, object, Readonly<Record<string, object>>]>([
    ["without an emergency section is removed", {}, other],
    [
      "gives its account to another bot with one",
      { emergency, account: "main" },
      { other: { emergency, account: "main" } },
    ],
    ["changes otherwise", { emergency }, { bot: { emergency, stopTimeout: "1s" } }],
    ["gets one", {}, { bot: { emergency } }],
  ])("is silent when a bot %s", (_, before, after) => {
    expect(unclosed(before, after)).toBeUndefined();
  });
});

describe("docs/reload.md", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../../docs/reload.md"), "utf8").replace(/ +/g, " ");
  test.each([...rows(botRules), ...rows(limitRules, "limits."), ...rows(topRules)])(
    "tells what %s means",
    (_key, row) => {
      expect(page).toContain(row);
    },
  );
});

describe("refusalOf()", () => {
  const clock = new FakeClock();
  const deps = {
    clock,
    pulse: new Pulse(clock),
    random: () => 0,
    record: () => {},
    perform: () => {},
    onBug: () => {},
  };
  const bot = { loop: new Loop(basePolicy, deps, initialState), owed: "its lockout is on no disk" };
  const refusal = (before: object, after: Readonly<Record<string, object>>, owed: string | null = bot.owed) => {
    const now = configOf(after);
    const plan = planReload(configOf({ bot: before }), now, () => undefined);
    return refusalOf(plan, now, new Map([["bot", { ...bot, owed: owed ?? undefined }]]));
  };

  test.each<[string, Readonly<Record<string, object>>]>([
    ["is removed", { other: {} }],
    ["gets another account", { bot: { account: "other" } }],
  ])("refuses while the disk lacks something of a bot that %s", (_, after) => {
    expect(refusal({}, after)).toBe("of bot bot: its lockout is on no disk");
  });

  test("lets a bot that stays change, and one go whose lockout and close are on the disk", () => {
    expect(refusal({}, { bot: { command: ["y"] } })).toBeUndefined();
    expect(refusal({}, { other: {} }, null)).toBeUndefined();
  });
});
