/** A reload in which something breaks while bots are let go of: what becomes of that one, and of the others. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { systemClock as clock } from "../../../../src/platform/clock.ts";
import type { Bot } from "../../../../src/supervisor/runtime/bot.ts";
import { loadConfig, type Dirs } from "../../../../src/supervisor/runtime/config/load.ts";
import type { CarriedBot } from "../../../../src/core/upgrade.ts";
import { Fleet } from "../../../../src/supervisor/runtime/fleet.ts";
import { Journal } from "../../../../src/supervisor/runtime/journal.ts";
import { watchMachine } from "../../../../src/supervisor/runtime/machine-watch.ts";
import { Pulse } from "../../../../src/supervisor/runtime/pulse.ts";
import { Reloader } from "../../../../src/supervisor/runtime/reload/reloader.ts";
import { endJournal } from "../../../harness/end-journal.ts";
import { until } from "../../../platform/until.ts";

const IDLE = { command: ["true"], autostart: false };

/** Our own name, which nobody needs a right for. */
const WE = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
const EMERGENCY = { exchange: "binanceusdm", apiKeyFile: "key", apiSecretFile: "key", closeAfter: "1h" };

const WAITS: CarriedBot = {
  kind: "backoff",
  generation: 3,
  reason: "",
  wanted: true,
  attempt: 1,
  restarts: 1,
  restartAgesMs: [],
  lastExit: null,
  backoffLeftMs: 600_000,
  closeAfterLeftMs: 60_000,
};

function fleetOf(dirs: Dirs, journal: Journal, carried: () => CarriedBot | undefined): Fleet {
  const pulse = new Pulse(clock);
  return new Fleet({
    dirs,
    clock,
    random: () => 0,
    env: {},
    journal,
    cgroupBase: undefined,
    controllers: () => undefined,
    pulse,
    machine: watchMachine(clock, pulse, undefined, () => {}),
    suspended: () => false,
    bootEndsAtMs: undefined,
    carried,
    foreign: () => false,
    endedCleanly: () => true,
    holdsDoubtful: () => false,
    restoring: () => undefined,
    onChange: () => {},
    version: "1.2.3",
    secrets: () => ({ values: [], files: [] }),
    onBug: (error) => {
      throw error;
    },
  });
}

/** Bots that never run, or were handed over so, and what reloads them. */
function rig(
  names: readonly string[],
  carried: () => CarriedBot | undefined = () => undefined,
  settings: object = IDLE,
) {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  // A thread may not set it, and the mode of the sockets is not what is tested here.
  const umask = vi.spyOn(process, "umask").mockReturnValue(0o022);
  const configure = (bots: object): void =>
    writeFileSync(join(dir, "supervisor.yaml"), JSON.stringify({ version: 1, bots }));
  writeFileSync(join(dir, "key"), "worth nothing", { mode: 0o600 });
  configure(Object.fromEntries(names.map((name) => [name, settings])));
  let loaded = loadConfig({ file: undefined, env: {}, cwd: dir });
  const journal = new Journal(join(dir, "journal"), clock);
  const fleet = fleetOf(loaded.dirs, journal, carried);
  fleet.addAll(Object.values(loaded.config.bots), { remains: [], configured: new Set(names) });
  for (const bot of fleet.all) bot.begin({});
  const said: string[] = [];
  let hindrance: string | undefined;
  let stopping = false;
  const reloader = new Reloader({
    fleet,
    clock,
    current: () => loaded,
    adopt: (next) => {
      loaded = next;
      return Promise.resolve();
    },
    stopping: () => stopping,
    obstacle: () => hindrance,
    say: (level, text) => said.push(`${level}: ${text}`),
    onBusy: () => {},
  });
  return {
    fleet,
    reloader,
    said,
    configure,
    hinder: (why: string | undefined) => (hindrance = why),
    stop: () => (stopping = true),
    bot(name: string): Bot {
      const bot = fleet.bots.get(name);
      if (bot === undefined) throw new Error(`the fleet has no ${name}`);
      return bot;
    },
    async [Symbol.asyncDispose]() {
      await fleet.shutDown();
      await fleet.closeSockets();
      umask.mockRestore();
      endJournal(journal);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const fail = (): never => {
  throw new Error("the test breaks it");
};

test("Reloader.reload() keeps a bot that it cannot stop, which obeys again, and replaces the others", async () => {
  await using made = rig(["broken", "other"]);
  const broken = made.bot("broken");
  const other = made.bot("other");
  broken.loop.settles = fail;
  made.configure({ broken: { ...IDLE, account: "moved" }, other: { ...IDLE, account: "new" } });
  const { bots } = await made.reloader.reload();
  expect(bots).toMatchObject([
    { name: "broken", error: expect.stringContaining("it could not be let go of, and keeps its definition") },
    { name: "other", error: null },
  ]);
  expect(made.bot("broken")).toBe(broken);
  expect(broken.leaving).toBe(false);
  expect(made.bot("other")).not.toBe(other);
  expect(made.bot("other").plan.account).toBe("new");
});

test("Reloader.reload() replaces every bot also where one cannot be ended wholly, and says so", async () => {
  await using made = rig(["broken", "other"]);
  const broken = made.bot("broken");
  const end = broken.shutDown.bind(broken);
  broken.shutDown = () => {
    end();
    fail();
  };
  made.configure({ broken: { ...IDLE, account: "moved" }, other: { ...IDLE, account: "new" } });
  const { bots } = await made.reloader.reload();
  expect(bots).toMatchObject([{ error: null }, { error: null }]);
  expect(made.fleet.all.map(({ plan, leaving }) => [plan.account, leaving])).toEqual([
    ["moved", false],
    ["new", false],
  ]);
  expect(made.said.filter((text) => text.startsWith("alert"))).toEqual([
    "alert: internal error: reload: broken was let go of, but not all of it ended: the test breaks it",
  ]);
});

test("Reloader.reload() that breaks off leaves nobody refusing commands, and nobody said to be on the way", async () => {
  await using made = rig(["first", "second"]);
  made.fleet.add = fail;
  const stayed = made.bot("second");
  stayed.leaving = true;
  made.configure({ first: { ...IDLE, account: "moved" }, second: IDLE });
  await made.reloader.reload();
  expect(stayed.leaving).toBe(false);
  expect(made.reloader.absenceOf("first")).toEqual({ kind: "missing", reason: "the test breaks it" });
});

/** Its next additions to the fleet fail, for as many reasons as are given. */
function failToAdd({ fleet }: { readonly fleet: Fleet }, ...reasons: string[]): void {
  const add = fleet.add.bind(fleet);
  fleet.add = (...args) => {
    const reason = reasons.shift();
    if (reason === undefined) return add(...args);
    throw new Error(reason);
  };
}

test("Reloader.retryMissing() takes a bot in that a reload could not, and tells each reason once", async () => {
  await using made = rig(["bot"]);
  failToAdd(made, "no room", "no room", "no memory");
  made.configure({ bot: { ...IDLE, account: "moved" } });
  const { bots } = await made.reloader.reload();
  expect(bots).toMatchObject([{ state: null, error: expect.stringMatching(/^no room; nobody supervises it until/) }]);
  expect(made.reloader.missing).toBe("not supervised, as a reload could not take it in: bot (no room)");
  expect(made.reloader.lastRead.success).toBe(false);
  made.said.length = 0;
  made.reloader.retryMissing();
  expect(made.said).toEqual([]);
  made.reloader.retryMissing();
  expect(made.said).toEqual([expect.stringMatching(/^alert: bot bot is still not taken in: no memory;/)]);
  made.reloader.retryMissing();
  expect(made.said.at(-1)).toBe("info: bot bot is taken in now");
  expect(made.bot("bot").plan.account).toBe("moved");
  expect(made.reloader.missing).toBeNull();
  expect(made.reloader.lastRead.success).toBe(true);
  expect(made.reloader.absenceOf("bot")).toBeUndefined();
});

test("Reloader.reload() promises no further try for a bot that is not taken in as the supervisor stops", async () => {
  await using made = rig(["bot"]);
  made.bot("bot").loop.settles = () => Promise.resolve(made.stop());
  made.configure({ bot: { ...IDLE, account: "moved" }, newcomer: IDLE });
  const { bots } = await made.reloader.reload();
  expect(bots.find(({ name }) => name === "newcomer")).toMatchObject({ error: "the supervisor is stopping" });
});

test("Reloader begins every bot that it has taken in, also where the beginning of one breaks off", async () => {
  await using made = rig(["first", "second"]);
  failToAdd(made, "no room", "no room");
  const bots = { first: { ...IDLE, account: "a" }, second: { ...IDLE, account: "b" } };
  made.configure(bots);
  await made.reloader.reload();
  const { fleet } = made;
  const add = fleet.add.bind(fleet);
  const begun: string[] = [];
  fleet.add = (...args) => {
    const bot = add(...args);
    bot.begin = () => (begun.push(bot.plan.name) === 1 ? fail() : undefined);
    return bot;
  };
  made.reloader.retryMissing();
  expect(begun).toEqual(["first", "second"]);
  expect(made.said.at(-2)).toMatch(
    /^alert: bot first: internal error: its beginning broke off: the test breaks it; it is stopped/,
  );
  begun.length = 0;
  made.configure({ first: { ...IDLE, account: "c" }, second: { ...IDLE, account: "d" } });
  const { bots: ends } = await made.reloader.reload();
  expect(begun).toEqual(["first", "second"]);
  expect(ends).toMatchObject([{ error: expect.stringContaining("broke off") }, { error: null }]);
});

test("Reloader.retryMissing() tries nothing while something hinders a reload, and a reload tries at once", async () => {
  await using made = rig(["bot"]);
  failToAdd(made, "no room");
  made.configure({ bot: { ...IDLE, account: "moved" } });
  await made.reloader.reload();
  made.hinder("a restore goes on");
  made.reloader.retryMissing();
  expect(made.fleet.all).toEqual([]);
  made.hinder(undefined);
  await made.reloader.reload();
  expect(made.bot("bot").plan.account).toBe("moved");
});

test("Reloader.reload() says what nobody closes any more also of a missing bot that the config drops", async () => {
  const bot = { ...IDLE, emergency: EMERGENCY };
  await using made = rig(["bot"], undefined, bot);
  failToAdd(made, "no room", "no room");
  made.configure({ bot: { ...bot, user: WE } });
  await made.reloader.reload();
  await made.reloader.reload();
  expect(made.said.join()).not.toContain("closed by nobody");
  made.configure({ other: IDLE });
  await made.reloader.reload();
  expect(made.said).toContainEqual(expect.stringMatching(/^warn: reload: bot: .*account bot is closed by nobody/));
});

test("Reloader forgets a missing bot that the config does not have any more", async () => {
  await using made = rig(["bot", "other"]);
  failToAdd(made, "no room");
  made.configure({ bot: { ...IDLE, account: "moved" }, other: IDLE });
  await made.reloader.reload();
  expect(made.reloader.missing).toContain("bot (no room)");
  made.configure({ other: IDLE });
  await made.reloader.reload();
  expect(made.reloader.missing).toBeNull();
  made.reloader.retryMissing();
  expect([...made.fleet.bots.keys()]).toEqual(["other"]);
});

test.each([
  ["goes on as it was, and its closeAfter has counted", undefined, { wanted: true, closeClock: "counting" }, true],
  ["obeys the order that came meanwhile", { trigger: "signal", reason: "SIGUSR2" }, { kind: "recovering" }, false],
] as const)("a bot that was missing %s", async (_, order, state, counts) => {
  const bot = { command: ["./nowhere"], emergency: EMERGENCY };
  let handed: CarriedBot | undefined = WAITS;
  await using made = rig(["bot"], () => handed, bot);
  handed = undefined;
  const closeAtMs = made.bot("bot").loop.dueAtMs("closeAfter") ?? 0;
  failToAdd(made, "no room");
  made.configure({ bot: { ...bot, user: WE } });
  await made.reloader.reload();
  const sinceMs = clock.monotonicMs();
  if (order !== undefined) made.reloader.noteOrder(order);
  await until("a while has passed", () => clock.monotonicMs() > sinceMs + 1_000);
  made.reloader.retryMissing();
  const { loop } = made.bot("bot");
  expect(loop.state).toMatchObject(state);
  expect(Math.abs((loop.dueAtMs("closeAfter") ?? 0) - closeAtMs) < 1_000).toBe(counts);
});

test("a bot that a reload cannot take in obeys an order that came while it was let go of", async () => {
  const bot = { ...IDLE, emergency: EMERGENCY };
  await using made = rig(["bot"], undefined, bot);
  const { output } = made.bot("bot");
  output.shutDown = () => {
    made.reloader.noteOrder({ trigger: "file", reason: "the emergency file appeared" });
    return Promise.resolve();
  };
  failToAdd(made, "no room");
  made.configure({ bot: { ...bot, user: WE } });
  await made.reloader.reload();
  made.reloader.retryMissing();
  expect(made.bot("bot").loop.state.kind).toBe("recovering");
});

test("Fleet.add() leaves no open socket of a bot whose other one cannot be opened", async () => {
  await using made = rig(["bot"]);
  const { notifySocket } = made.bot("bot").plan.files;
  made.configure({ bot: { ...IDLE, account: "moved" } });
  const serve = vi.spyOn(Bun, "serve").mockImplementationOnce(fail);
  await made.reloader.reload();
  serve.mockRestore();
  expect(made.reloader.missing).toContain("bot (the test breaks it)");
  expect(existsSync(notifySocket)).toBe(false);
});

test.each([
  ["in backoff", WAITS],
  ["that is halted", { ...WAITS, kind: "halted", reason: "it gave up" }],
] as const)("closeAfter of a bot %s counts on while a reload waits for another one", async (_, state) => {
  const bot = { command: ["./nowhere"], emergency: EMERGENCY };
  let handed: CarriedBot | undefined = state;
  await using made = rig(["bot", "slow"], () => handed, bot);
  handed = undefined;
  const closeAtMs = made.bot("bot").loop.dueAtMs("closeAfter") ?? 0;
  made.bot("slow").loop.settles = async () => {
    const sinceMs = clock.monotonicMs();
    await until("a while has passed", () => clock.monotonicMs() > sinceMs + 1_000);
    return true;
  };
  made.configure({ bot: { ...bot, user: WE }, slow: { ...IDLE, user: WE } });
  await made.reloader.reload();
  expect(Math.abs((made.bot("bot").loop.dueAtMs("closeAfter") ?? 0) - closeAtMs)).toBeLessThan(500);
});

test.each([
  ["goes on with what closeAfter has counted of a bot in backoff that gets another user", { user: WE }, 1],
  ["begins to count anew for a bot that gets another account", { account: "other" }, 60],
] as const)("Reloader.reload() %s", async (_, change, minutes) => {
  const bot = { command: ["./nowhere"], emergency: EMERGENCY };
  let handed: CarriedBot | undefined = WAITS;
  await using made = rig(["bot"], () => handed, bot);
  expect(made.bot("bot").loop.state).toMatchObject({ kind: "backoff", closeClock: "counting" });
  handed = undefined;
  made.configure({ bot: { ...bot, ...change } });
  await made.reloader.reload();
  const { loop } = made.bot("bot");
  expect(loop.state.closeClock).toBe("counting");
  const leftMs = (loop.dueAtMs("closeAfter") ?? 0) - clock.monotonicMs();
  expect(Math.ceil(leftMs / 60_000)).toBe(minutes);
});
