/** How a bot begins that an earlier version of the daemon has handed over. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CarriedBot } from "../../../src/core/upgrade.ts";
import { systemClock as clock } from "../../../src/platform/clock.ts";
import type { Begin } from "../../../src/supervisor/runtime/bot-deps.ts";
import { Bot } from "../../../src/supervisor/runtime/bot.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { carriedBot } from "../../../src/supervisor/runtime/handover.ts";
import { Journal } from "../../../src/supervisor/runtime/journal.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import { endJournal } from "../../harness/end-journal.ts";

const carried: CarriedBot = {
  kind: "locked",
  generation: 3,
  reason: "",
  wanted: true,
  attempt: 0,
  restarts: 0,
  restartAgesMs: [],
  lastExit: null,
  closeAfterLeftMs: null,
};

/** A bot whose start would find no program, and whose close has no rung. */
function rig(handed: Partial<CarriedBot>, lockout?: string) {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  const bots = { bot: { command: ["./nowhere"] } };
  writeFileSync(join(dir, "supervisor.yaml"), JSON.stringify({ version: 1, bots }));
  const { config, dirs } = loadConfig({ file: undefined, env: {}, cwd: dir });
  const { bot: settings } = config.bots;
  if (settings === undefined) throw new Error("the config has no bot");
  mkdirSync(join(dirs.stateDir, "bots", "bot"), { recursive: true });
  if (lockout !== undefined) writeFileSync(join(dirs.stateDir, "bots", "bot", "lock.json"), lockout);
  const journal = new Journal(join(dir, "journal"), clock);
  const bot = new Bot("bot", settings, dirs, {
    clock,
    random: () => 0,
    env: {},
    journal,
    cgroupBase: undefined,
    controllers: undefined,
    alone: false,
    installation: "test",
    drain: () => {},
    onChange: () => {},
    pulse: new Pulse(clock),
    remains: [],
    configured: new Set(["bot"]),
    carried: { ...carried, ...handed },
    version: "1.2.3",
    secrets: () => ({ values: [], files: [] }),
    onBug: (error) => {
      throw error;
    },
  });
  return {
    bot,
    begin(how: Begin = {}) {
      bot.begin(how);
      return bot.loop.state;
    },
    [Symbol.dispose]() {
      bot.shutDown();
      endJournal(journal);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

test("begin() locks a bot that was handed over locked and whose lockout is not on disk, and writes it anew", () => {
  using made = rig({});
  expect(made.begin()).toMatchObject({ kind: "locked", outcome: "lockDamaged" });
  const { lockout } = made.bot.plan.files;
  expect(JSON.parse(readFileSync(lockout, "utf8"))).toMatchObject({ bot: "bot", outcome: "lockDamaged" });
});

test("begin() goes on with the order that was taken where its lockout is not on disk", () => {
  using made = rig({});
  const emergency = { trigger: "operator", reason: "asked for", taken: true } as const;
  expect(made.begin({ emergency })).toMatchObject({ kind: "locked", outcome: "unsupported" });
  expect(made.bot.lockout).toMatchObject({ reason: "asked for", outcome: "unsupported" });
});

test("begin() locks a bot that was handed over halted and whose account is locked, and nothing but arm starts it", () => {
  using made = rig({ kind: "halted", reason: "exit code 78" }, "damaged");
  expect(made.begin().kind).toBe("locked");
  made.bot.loop.post({ kind: "start" });
  expect(made.bot.loop.state.kind).toBe("locked");
});

test("begin() begins no lockout for a bot that was handed over stopped", () => {
  using made = rig({ kind: "stopped", wanted: false });
  expect(made.begin().kind).toBe("stopped");
  expect(existsSync(made.bot.plan.files.lockout)).toBe(false);
});

test("begin() goes on with a backoff, and not with that of another account", () => {
  // It is not wanted, so that without its backoff nothing is started.
  const waits = { kind: "backoff", wanted: false, backoffLeftMs: 600_000, closeAfterLeftMs: null } as const;
  using same = rig({ ...waits, account: "bot" });
  expect(same.begin().kind).toBe("backoff");
  using other = rig({ ...waits, account: "elsewhere" });
  expect(other.begin().kind).toBe("stopped");
});

test("begin() goes on with a bot without an emergency section, although an order to close every account lies ready", () => {
  const waits = { kind: "backoff", wanted: true, backoffLeftMs: 600_000 } as const;
  using made = rig(waits);
  expect(made.begin({ emergency: { trigger: "file", reason: "the file was there" } }).kind).toBe("backoff");
  expect(made.bot.lockout).toBeUndefined();
});

test("begin() starts nothing under BOT_EMERGENCY_SHUTDOWN, and keeps in mind why, until somebody says otherwise", () => {
  using fresh = rig({ kind: "stopped", wanted: true });
  expect(fresh.begin({ emergency: { trigger: "environment", reason: "it was set" } }).kind).toBe("stopped");
  expect(fresh.bot.turn.keptDown).toBe("it was set");
  fresh.bot.loop.post({ kind: "stop" });
  expect(fresh.bot.turn.keptDown).toBeUndefined();
});

test("a bot that a person had stopped during a restore stays down after an upgrade, until somebody says otherwise", () => {
  using made = rig({ kind: "stopped", wanted: false, staysDown: true });
  expect(made.begin().kind).toBe("stopped");
  expect(made.bot.turn.staysDown).toBe(true);
  expect(carriedBot(made.bot, clock)).toMatchObject({ staysDown: true });
  made.bot.loop.post({ kind: "start" });
  expect(made.bot.turn.staysDown).toBe(false);
  using other = rig({ kind: "stopped", wanted: false });
  expect(other.bot.turn.staysDown).toBe(false);
});

test("what kept a bot down before an upgrade still does, although the order is there again", () => {
  using made = rig({ kind: "stopped", wanted: false, reason: "it was set" });
  expect(made.begin({ emergency: { trigger: "environment", reason: "it is set" } }).kind).toBe("stopped");
  expect(made.bot.turn.keptDown).toBe("it was set");
});
