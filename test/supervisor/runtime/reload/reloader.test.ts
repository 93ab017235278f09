/** A reload in which something breaks while bots are let go of: what becomes of that one, and of the others. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
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

const IDLE = { command: ["true"], autostart: false };

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
  const reloader = new Reloader({
    fleet,
    clock,
    current: () => loaded,
    adopt: (next) => {
      loaded = next;
      return Promise.resolve();
    },
    stopping: () => false,
    obstacle: () => undefined,
    say: (level, text) => said.push(`${level}: ${text}`),
    onBusy: () => {},
  });
  return {
    fleet,
    reloader,
    said,
    configure,
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
  expect(made.reloader.isComing("first")).toBe(false);
});

/** Our own name, which nobody needs a right for. */
const WE = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
const EMERGENCY = { exchange: "binanceusdm", apiKeyFile: "key", apiSecretFile: "key", closeAfter: "1h" };

test.each([
  ["goes on with what closeAfter has counted of a bot in backoff that gets another user", { user: WE }, 1],
  ["begins to count anew for a bot that gets another account", { account: "other" }, 60],
] as const)("Reloader.reload() %s", async (_, change, minutes) => {
  const bot = { command: ["./nowhere"], emergency: EMERGENCY };
  const waits: CarriedBot = {
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
  let handed: CarriedBot | undefined = waits;
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
