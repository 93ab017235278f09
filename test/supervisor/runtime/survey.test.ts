import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { withoutProcess, type Identity } from "../../../src/core/identity.ts";
import type { Lockout } from "../../../src/core/lockout.ts";
import { readTextIfExists } from "../../../src/platform/files.ts";
import { bootId, isLive, readEnviron, readStat } from "../../../src/platform/proc.ts";
import { filesOf, planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { refuseDoubt, refuseSupervised } from "../../../src/supervisor/runtime/bot-setup.ts";
import {
  isSameSocket,
  isUnsafe,
  kinOf,
  strangersOf,
  supervisedElsewhere,
  surveyBots,
  type Remains,
} from "../../../src/supervisor/runtime/survey.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { until } from "../../platform/until.ts";

const root = mkdtempSync(join(tmpdir(), "survey-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const lockoutOf = (outcome: Lockout["outcome"]): Lockout => ({
  version: 1,
  bot: "a",
  account: "a",
  incident: "a-1",
  trigger: "operator",
  reason: "test",
  lockedAt: "2026-01-01T00:00:00.000Z",
  outcome,
  endedAt: outcome === null ? null : "2026-01-01T00:00:09.000Z",
});

test.each([
  ["no lockout", undefined, false],
  ["a lockout whose account is flat", JSON.stringify(lockoutOf("flat")), false],
  ["a close that was interrupted", JSON.stringify(lockoutOf(null)), true],
  ["a close that left something", JSON.stringify(lockoutOf("residual")), true],
  ["a lockout that cannot be read", "{", true],
])("isUnsafe() answers for %s", (name, text, expected) => {
  const stateDir = join(root, name.replaceAll(" ", "-"));
  const dirs = { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
  const { dir, lockout } = filesOf("a", "a", dirs);
  mkdirSync(dir, { recursive: true });
  if (text !== undefined) writeFileSync(lockout, text);
  expect(surveyBots(dirs).map(isUnsafe)).toEqual([expected]);
});

test("kinOf() counts a bot of an unknown account as kin, unless it is in the config or the bot itself", () => {
  const dirs = { stateDir: root, runtimeDir: join(root, "run"), logDir: join(root, "log") };
  const remainsOf = (name: string, account?: string): Remains => ({
    name,
    files: filesOf(name, name, dirs),
    identity: undefined,
    identityReading: { kind: "absent" },
    lockout: account === undefined ? undefined : { ...lockoutOf("flat"), account },
    lockoutFiles: [],
  });
  const remains = [
    remainsOf("bot"),
    remainsOf("renamed", "main"),
    remainsOf("another", "other"),
    // Its supervisor was killed before it could write the identity, or the file is damaged.
    remainsOf("nameless"),
    remainsOf("neighbour"),
  ];
  const kin = kinOf({ name: "bot", account: "main" }, remains, new Set(["bot", "neighbour"]));
  expect(kin.map(({ name }) => name)).toEqual(["renamed", "nameless"]);
});

const identityOf = (pid: number): Identity => ({
  version: 1,
  account: "bot",
  pid,
  startTimeTicks: 1,
  bootId: "boot",
  invocationId: "i1",
  generation: 1,
  ready: true,
  definition: "",
  cgroup: null,
  restarts: 0,
});

/** A bot that lives and was given `socket`, and what the folder of `root` says of it. */
function living(socket: string) {
  const child = Bun.spawn(["sleep", "60"], { env: { INVOCATION_ID: "i1", SUPERVISOR_SOCKET: socket } });
  const dirs = { stateDir: root, runtimeDir: join(root, "run"), logDir: join(root, "log") };
  const plan = planBot("bot", botConfig("bot"), dirs);
  const { pid } = child;
  const identity = identityOf(pid);
  const remains: Remains = {
    name: "bot",
    files: plan.files,
    identity,
    identityReading: { kind: "known", identity },
    lockout: undefined,
    lockoutFiles: [],
  };
  return {
    pid,
    plan,
    remains,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test("supervisedElsewhere() names a bot whose supervisor cannot be asked, and none whose socket nobody listens at", async () => {
  const loop = join(root, "loop");
  symlinkSync("loop", loop);
  await using doubtful = living(loop);
  await using orphan = living(join(root, "absent"));
  const ask = ({ remains: { files, identity } }: typeof orphan) => supervisedElsewhere(files, identity);
  expect(ask(doubtful)).toEqual({ pid: doubtful.pid, doubt: expect.stringContaining(loop) });
  expect(ask(orphan)).toBeUndefined();
  const refuse = ({ plan, remains }: typeof orphan) => refuseSupervised(plan, [remains], new Set(["bot"]));
  expect(() => refuse(doubtful)).toThrow(`pid ${doubtful.pid} is bot, which another supervisor may run`);
  expect(() => refuse(orphan)).not.toThrow();
});

test("refuseDoubt() names what a dead main process has left in its session without a mark, until the identity names no process", async () => {
  const { plan, folder } = lonePlan();
  const main = Bun.spawn(["env", "-i", "sh", "-c", "sleep 60 & echo $! > left; exec sleep 60"], {
    cwd: folder,
    detached: true,
  });
  const left = await until("its child", () => Number(readTextIfExists(join(folder, "left"), 16)) || undefined);
  try {
    const { startTicks = 0 } = readStat(main.pid) ?? {};
    const before = { ...identityOf(main.pid), bootId: bootId() ?? "", startTimeTicks: startTicks };
    main.kill("SIGKILL");
    await main.exited;
    const text = `last main process ${main.pid} has ended unwatched, and pid ${left}, which is in its session, may be of the bot`;
    expect(() => refuseDoubt(plan, before)).toThrow(text);
    const identityReading = { kind: "known", identity: before } as const;
    const kin: Remains = { name: "old", files: plan.files, identity: before, identityReading, ...NO_LOCK };
    expect(() => refuseDoubt(plan, undefined, [kin])).toThrow(`of old, whose ${text}`);
    expect(() => refuseDoubt(plan, withoutProcess(before))).not.toThrow();
    expect(() => refuseDoubt(plan, { ...before, bootId: "another boot" })).not.toThrow();
    // A number of another PID namespace, whose first process the supervisor was, names nobody here.
    const place = { bootId: before.bootId, pids: "pid:[1]", first: true, cgroups: null };
    expect(() => refuseDoubt(plan, { ...before, place })).not.toThrow();
    process.kill(left, "SIGKILL");
    await until("it is gone", () => !isLive(left));
    expect(() => refuseDoubt(plan, before)).not.toThrow();
  } finally {
    if (isLive(left)) process.kill(left, "SIGKILL");
    rmSync(folder, { recursive: true });
  }
});

const NO_LOCK = { lockout: undefined, lockoutFiles: [] } as const;

/** A bot with a working folder of its own. */
function lonePlan() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "strangers-")));
  const dirs = { stateDir: root, runtimeDir: join(root, "run"), logDir: join(root, "log") };
  return { folder, plan: planBot("loner", { ...botConfig("loner"), cwd: folder }, dirs) };
}

const setpriv = Bun.which("setpriv");

test.skipIf(setpriv === null || process.getuid?.() !== 0)(
  "strangersOf() counts a process by who can have started the bot: root, we, the bot's user or its folder's owner",
  async () => {
    const nobody = 65_534;
    const { folder, plan } = lonePlan();
    chmodSync(folder, 0o755);
    const start = (...as: string[]) =>
      Bun.spawn([...as, "sleep", "60"], { cwd: folder, env: { PATH: process.env["PATH"], SUPERVISOR_BOT: "loner" } });
    const [own, other] = [start(), start("setpriv", "--reuid", String(nobody), "--clear-groups")];
    try {
      await until("it is another user's", () => statSync(`/proc/${other.pid}`).uid === nobody);
      expect(strangersOf(plan)).toEqual([own.pid]);
      const asUser = { ...plan, config: { ...plan.config, user: String(nobody) } };
      expect(new Set(strangersOf(asUser))).toEqual(new Set([own.pid, other.pid]));
      chownSync(folder, nobody, nobody);
      expect(new Set(strangersOf(plan))).toEqual(new Set([own.pid, other.pid]));
    } finally {
      for (const child of [own, other]) child.kill("SIGKILL");
      await Promise.all([own.exited, other.exited]);
      rmSync(folder, { recursive: true });
    }
  },
);

test.skipIf(setpriv === null || process.getuid?.() !== 0)(
  "strangersOf() counts a process that gave up its rights by itself by the socket that its supervisor made for it, and by no other socket",
  async () => {
    const { folder, plan } = lonePlan();
    chmodSync(folder, 0o755);
    const theirs = join(folder, "theirs");
    mkdirSync(theirs);
    const nobody = 65_534;
    const listen = (name: string) => Bun.listen({ unix: join(folder, name), socket: { data() {} } });
    const servers = [listen("loner.sock"), listen("other.sock")];
    symlinkSync(join(folder, "other.sock"), join(theirs, "loner.sock"));
    const start = (socket: string) =>
      Bun.spawn(["setpriv", "--reuid", String(nobody), "--clear-groups", "sleep", "60"], {
        cwd: folder,
        env: { PATH: process.env["PATH"], SUPERVISOR_BOT: "loner", SUPERVISOR_SOCKET: socket },
      });
    const sockets = ["loner.sock", "other.sock", "absent/loner.sock", "theirs/loner.sock"];
    const children = sockets.map((socket) => start(join(folder, socket)));
    try {
      await until("they have given up their rights", () =>
        children.every(({ pid }) => statSync(`/proc/${pid}`).uid === nobody),
      );
      expect(strangersOf(plan)).toEqual([children[0]?.pid]);
    } finally {
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(children.map(({ exited }) => exited));
      for (const server of servers) server.stop(true);
      rmSync(folder, { recursive: true });
    }
  },
);

test("isSameSocket() follows links to the folder", () => {
  const [folder, link] = [join(root, "sockets"), join(root, "link")];
  mkdirSync(folder);
  symlinkSync(folder, link);
  expect(isSameSocket(join(folder, "a.sock"), join(link, "a.sock"))).toBe(true);
  expect(isSameSocket(join(folder, "a.sock"), join(link, "b.sock"))).toBe(false);
  expect(isSameSocket(join(folder, "a.sock"), join(root, "absent", "a.sock"))).toBe(false);
});

test("surveyBots() takes no identity for a bot's that is another bot's, by its living process or by its cgroup", async () => {
  const stateDir = join(root, "swapped");
  const dirs = { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
  const child = Bun.spawn(["sleep", "60"], { env: { INVOCATION_ID: "i1", SUPERVISOR_BOT: "a" } });
  const { startTicks = 0 } = readStat(child.pid) ?? {};
  const write = (name: string, more: Partial<Identity>): void => {
    const { dir, identity } = filesOf(name, name, dirs);
    mkdirSync(dir, { recursive: true });
    const { pid } = child;
    writeFileSync(
      identity,
      JSON.stringify({ ...identityOf(pid), startTimeTicks: startTicks, bootId: bootId(), ...more }),
    );
  };
  try {
    await until("it is there", () => readEnviron(child.pid)?.includes("SUPERVISOR_BOT=a"));
    write("a", { cgroup: "/sys/fs/cgroup/bot-a-1" });
    write("b", {});
    write("c", { bootId: "another boot", cgroup: "/sys/fs/cgroup/bot-a-1" });
    write("d", { bootId: "another boot" });
    const kinds = Object.fromEntries(surveyBots(dirs).map(({ name, identityReading: { kind } }) => [name, kind]));
    expect(kinds).toEqual({ a: "known", b: "damaged", c: "damaged", d: "known" });
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
