/** What the control socket answers for real bots that never run: routes, refusals, and what is told of a close. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { tryLock } from "../../../src/platform/lock.ts";
import { Bot } from "../../../src/supervisor/runtime/bot.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { controlAnswers } from "../../../src/supervisor/runtime/control.ts";
import { Journal } from "../../../src/supervisor/runtime/journal.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import type { Absence } from "../../../src/supervisor/runtime/reload/reloader.ts";
import { supervisorStatus } from "../../../src/supervisor/runtime/status.ts";
import { reportOf } from "../../harness/report-sample.ts";
import { endJournal } from "../../harness/end-journal.ts";

const LOCKOUT = {
  version: 1,
  bot: "bot",
  account: "bot",
  incident: "abc1234",
  trigger: "operator",
  reason: "asked for",
  lockedAt: "2026-01-01T00:00:00.000Z",
  outcome: "residual",
  endedAt: "2026-01-01T00:01:00.000Z",
};

const REPORT = reportOf({ incident: "abc1234", outcome: "residual", reason: "something is left", verified: false });

const EMERGENCY = { exchange: "binanceusdm", apiKeyFile: "key", apiSecretFile: "key", endpoint: "http://127.0.0.1:9" };

const BOTS = {
  bot: { command: ["true"], emergency: EMERGENCY },
  plain: { command: ["true"] },
  lost: { command: ["./nowhere"] },
};

const ABOUT = {
  version: "1.2.3",
  secrets: () => ({ values: [], files: [] }),
  cgroupBase: undefined,
  controllers: undefined,
  alone: false,
  installation: "test",
};

function botsOf(dir: string, journal: Journal): [string, Bot][] {
  const { config, dirs } = loadConfig({ file: undefined, env: {}, cwd: dir });
  const clock = systemClock;
  return Object.entries(config.bots).map(([name, of]): [string, Bot] => [
    name,
    new Bot(name, { ...of, autostart: false }, dirs, {
      clock,
      random: () => 0,
      env: {},
      journal,
      drain: () => {},
      onChange: () => {},
      pulse: new Pulse(clock),
      remains: [],
      configured: new Set(),
      ...ABOUT,
      onBug: (error) => {
        throw error;
      },
    }),
  ]);
}

interface Shown {
  readonly stopping: boolean;
  readonly lockout: object;
  readonly report: object;
  /** A bot that a reload takes in in a moment. */
  readonly absence: Record<string, Absence>;
}

/** One bot with an emergency section and one without, behind a control socket. */
function rig({ stopping = false, lockout, report, absence = {} }: Partial<Shown> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  writeFileSync(join(dir, "key"), "worth nothing", { mode: 0o600 });
  writeFileSync(join(dir, "supervisor.yaml"), JSON.stringify({ version: 1, bots: BOTS }));
  const incidents = join(dir, ".supervisor", "bots", "bot", "incidents");
  mkdirSync(incidents, { recursive: true });
  if (lockout !== undefined) writeFileSync(join(incidents, "..", "lock.json"), JSON.stringify(lockout));
  if (report !== undefined) writeFileSync(join(incidents, "abc1234.json"), JSON.stringify(report));
  const clock = systemClock;
  const journal = new Journal(join(dir, "journal"), clock);
  const made = botsOf(dir, journal);
  for (const [, bot] of made) bot.begin({});
  const status = () =>
    supervisorStatus({
      clock,
      version: "1.2.3",
      config: join(dir, "supervisor.yaml"),
      bots: made.map(([, bot]) => bot),
      backups: [],
      cgroup: "none",
      journal: { dropped: 0, trouble: null },
      startedAt: new Date(),
      startedAtMs: clock.monotonicMs(),
    });
  const deps = {
    path: join(dir, "control.sock"),
    group: undefined,
    bots: new Map(made),
    journal,
    clock,
    env: {},
    status,
  };
  const answers = controlAnswers({
    ...deps,
    version: "1.2.3",
    stopping: () => stopping,
    absence: (name) => absence[name],
  });
  return {
    async ask(method: "GET" | "POST", route: string, body?: object): Promise<{ code: number; answer: unknown }> {
      const sent = body === undefined ? {} : { body: JSON.stringify(body) };
      const response = await answers(new Request(`http://supervisor${route}`, { method, ...sent }));
      return { code: response.status, answer: await response.json() };
    },
    /** The same with a body that ends once `deed` is done to each bot. */
    async askSlowly(route: string, body: object, deed: (bot: Bot) => void): Promise<{ code: number; answer: unknown }> {
      const sent = inTwoParts(body, () => made.forEach(([, bot]) => deed(bot)));
      const response = await answers(new Request(`http://supervisor${route}`, { method: "POST", body: sent }));
      return { code: response.status, answer: await response.json() };
    },
    lockout: join(incidents, "..", "lock.json"),
    accountLock: join(dir, ".supervisor", "accounts", "bot.lock"),
    journal,
    [Symbol.dispose]() {
      for (const [, bot] of made) bot.shutDown();
      endJournal(journal);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function leave(bot: Bot): void {
  bot.leaving = true;
}

function letGo(bot: Bot): void {
  leave(bot);
  bot.loop.retire();
  bot.shutDown();
  // Whatever was under way asks for something later, as a look at the account for a close.
  bot.loop.post({ kind: "arm", acceptPositions: true });
  bot.loop.post({ kind: "emergency", trigger: "exposure", reason: "too much" });
}

/** A body of which one byte comes before `between` and the rest after it. */
function inTwoParts(body: object, between: () => void): ReadableStream<Uint8Array> {
  const [first = 0, ...rest] = new TextEncoder().encode(JSON.stringify(body));
  let parts = 0;
  return new ReadableStream(
    {
      pull(controller) {
        parts += 1;
        if (parts === 1) return controller.enqueue(Uint8Array.of(first));
        between();
        controller.enqueue(Uint8Array.from(rest));
        return controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

test("GET /v1/ping answers pid and version", async () => {
  using control = rig();
  expect(await control.ask("GET", "/v1/ping")).toEqual({ code: 200, answer: { pid: process.pid, version: "1.2.3" } });
});

test.each([
  ["GET", "/v1/nothing"],
  ["GET", "/v1/bots/bot/start"],
  ["GET", "/v1/bots/bot/toString"],
  ["POST", "/v1/bots/bot/constructor"],
  ["POST", "/v1/bots/bot"],
] as const)("%s %s is no route", async (method, route) => {
  using control = rig();
  expect(await control.ask(method, route)).toMatchObject({ code: 404, answer: { error: { code: "notFound" } } });
});

test.each([
  ["plane", 'cannot find bot plane: the config has none of this name; did you mean "plain"?'],
  ["a%20b", "cannot find bot a b: the config has none of this name"],
  ["%zz", "cannot find bot %zz: the config has none of this name"],
])("a command for %s, which is no bot, is refused with what may be meant", async (name, message) => {
  using control = rig();
  const hint = "the bots are: bot, plain, lost";
  expect(await control.ask("POST", `/v1/bots/${name}/start`)).toEqual({
    code: 404,
    answer: { error: { code: "noSuchBot", message, hint } },
  });
});

test("GET /v1/bots/NAME/emergency of a bot whose account nobody closed holds nothing", async () => {
  using control = rig();
  const { code, answer } = await control.ask("GET", "/v1/bots/bot/emergency");
  expect(code).toBe(200);
  expect(answer).toEqual({
    bot: "bot",
    state: "stopped",
    incident: null,
    reason: null,
    lockedAt: null,
    outcome: null,
    endedAt: null,
    acknowledgedAt: null,
    detail: null,
    report: null,
  });
  expect(await control.ask("GET", "/v1/bots/nobody/emergency")).toMatchObject({
    code: 404,
    answer: { error: { code: "noSuchBot" } },
  });
});

test("GET /v1/bots/NAME/emergency reads the report of a close that an earlier daemon ended", async () => {
  using control = rig({ lockout: LOCKOUT, report: REPORT });
  const { answer } = await control.ask("GET", "/v1/bots/bot/emergency");
  expect(answer).toMatchObject({
    state: "locked",
    incident: "abc1234",
    reason: "asked for",
    outcome: "residual",
    endedAt: LOCKOUT.endedAt,
    detail: null,
    report: REPORT,
  });
});

test.each([
  ["of an older round", { ...REPORT, outcome: "unreadable" }],
  ["of another incident", { ...REPORT, incident: "other12" }],
  ["that is damaged", { version: 1 }],
])("GET /v1/bots/NAME/emergency does not show a report %s", async (_, report) => {
  using control = rig({ lockout: LOCKOUT, report });
  const { code, answer } = await control.ask("GET", "/v1/bots/bot/emergency");
  expect(code).toBe(200);
  expect(answer).toMatchObject({ outcome: "residual", report: null });
});

test.each([
  ["start", {}],
  ["restart", {}],
  ["arm", { reason: "x" }],
  ["emergency", { mode: "plan" }],
  ["emergency", { mode: "close", yes: true }],
])("POST %s is refused while the daemon is stopping", async (verb, body) => {
  using control = rig({ stopping: true });
  const { code, answer } = await control.ask("POST", `/v1/bots/bot/${verb}`, body);
  expect(code).toBe(503);
  expect(answer).toMatchObject({
    error: { code: "stopping", message: expect.stringMatching(/^cannot .* bot: the supervisor is stopping$/) },
  });
});

test("POST stop is answered while the daemon is stopping, and says that the bot did not run", async () => {
  using control = rig({ stopping: true });
  expect(await control.ask("POST", "/v1/bots/bot/stop")).toEqual({
    code: 200,
    answer: { bot: "bot", state: "stopped", already: true },
  });
});

test.each([
  ["emergency", { mode: "plan" }],
  ["emergency", { mode: "close", yes: true }],
  ["acknowledge", { reason: "x" }],
  ["arm", { reason: "x", acceptPositions: true }],
])("POST %s of a bot that a reload lets go of before the request has come does nothing to it", async (verb, body) => {
  using control = rig({ lockout: LOCKOUT });
  const before = readFileSync(control.lockout, "utf8");
  expect(await control.askSlowly(`/v1/bots/bot/${verb}`, body, letGo)).toMatchObject({
    code: 409,
    answer: { error: { code: "reloading" } },
  });
  expect(readFileSync(control.lockout, "utf8")).toBe(before);
});

test("POST arm is refused while a close that an earlier supervisor began is still at work on the account", async () => {
  using control = rig({ lockout: { ...LOCKOUT, outcome: "unsupported" } });
  mkdirSync(dirname(control.accountLock), { recursive: true });
  const worker = tryLock(control.accountLock);
  const arm = () => control.ask("POST", "/v1/bots/bot/arm", { reason: "x", acceptPositions: true });
  expect(await arm()).toMatchObject({
    code: 409,
    answer: { error: { code: "inProgress", message: expect.stringContaining(`still at work (pid ${process.pid})`) } },
  });
  expect(existsSync(control.lockout)).toBe(true);
  worker?.release();
  expect(await arm()).toMatchObject({ code: 200 });
  expect(existsSync(control.lockout)).toBe(false);
});

test("POST arm of a bot whose account is flat is refused while the close of an account that it had before is open, until a person accepts that", async () => {
  using control = rig({ lockout: { ...LOCKOUT, outcome: "flat" } });
  const older = join(dirname(control.lockout), "lock-elsewhere.json");
  writeFileSync(older, JSON.stringify({ ...LOCKOUT, account: "main", incident: "old1234" }));
  const arm = (more: object = {}) => control.ask("POST", "/v1/bots/bot/arm", { reason: "x", ...more });
  expect(await arm()).toEqual({
    code: 409,
    answer: {
      error: {
        code: "notFlat",
        message:
          "cannot arm bot: account bot is flat, but the close of account main (incident old1234), which it had before, ended residual",
        hint: expect.stringContaining("--accept-positions arms it all the same"),
      },
    },
  });
  expect(existsSync(older)).toBe(true);
  expect(await arm({ acceptPositions: true })).toMatchObject({ code: 200 });
  expect(existsSync(older)).toBe(false);
});

test("POST emergency of a bot that a reload is about to let go of is obeyed", async () => {
  using control = rig({ lockout: LOCKOUT });
  const close = { mode: "close", yes: true };
  expect(await control.askSlowly("/v1/bots/bot/emergency", close, leave)).toMatchObject({ code: 200 });
});

test("a bot between its old definition and its new one is not said to be none of the config's", async () => {
  using control = rig({
    absence: { moved: { kind: "coming" }, missed: { kind: "missing", reason: "no room" } },
  });
  expect(await control.ask("POST", "/v1/bots/moved/emergency", { mode: "plan" })).toMatchObject({
    code: 409,
    answer: { error: { code: "reloading", message: expect.stringContaining("moved") } },
  });
  expect(await control.ask("POST", "/v1/bots/missed/start")).toMatchObject({
    code: 409,
    answer: { error: { code: "missing", message: expect.stringMatching(/nobody supervises it.*: no room$/) } },
  });
});

test("POST emergency of a bot without an emergency section says so, for a plan and for a close", async () => {
  using control = rig();
  for (const body of [{ mode: "plan" }, { mode: "close", yes: true }])
    expect(await control.ask("POST", "/v1/bots/plain/emergency", body)).toMatchObject({
      code: 409,
      answer: { error: { code: "unsupported" } },
    });
});

test("POST start of a bot whose command does not exist points at the config, not at a log", async () => {
  using control = rig();
  expect(await control.ask("POST", "/v1/bots/lost/start")).toMatchObject({
    code: 500,
    answer: {
      error: {
        message: expect.stringMatching(/^cannot start lost: it is halted: cannot start .*nowhere/),
        hint: "it never ran, so it has no output; look at command, cwd, user and envFile of bots.lost in the config",
      },
    },
  });
});

test("a start that is refused is told to the journal with its reason, once for each reason", async () => {
  using control = rig({ lockout: LOCKOUT });
  const ask = (bot: string, verb: string) => control.ask("POST", `/v1/bots/${bot}/${verb}`, { reason: "x" });
  for (const verb of ["start", "arm", "start", "restart", "arm"])
    expect(await ask("bot", verb)).toMatchObject({ code: 409 });
  const told = control.journal.recent.filter(({ text }) => text.startsWith("refused: "));
  expect(told.map(({ text }) => text)).toEqual([
    "refused: cannot start bot: it is locked since its emergency (asked for)",
    "refused: cannot arm bot: its positions are not proven closed (residual); the close is tried again by itself every 30 s",
  ]);
});

test("POST /v1/events puts what a command has done without the daemon into the journal, and takes no long text", async () => {
  using control = rig();
  const event = { level: "info", text: "supervisor backup run by ada: backup x is stored" };
  expect(await control.ask("POST", "/v1/events", event)).toEqual({ code: 200, answer: { noted: true } });
  expect(control.journal.recent.at(-1)).toMatchObject({ kind: "daemon", from: "command", ...event });
  const before = control.journal.recent.length;
  for (const wrong of [
    { ...event, text: "x".repeat(501) },
    { ...event, level: "debug" },
    { ...event, bot: "bot" },
  ])
    expect(await control.ask("POST", "/v1/events", wrong)).toMatchObject({ code: 400 });
  expect(control.journal.recent).toHaveLength(before);
});
