/** A child gets exactly what it is given, its failures have names, and a signal never hits a stranger. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { detectCgroup, removeCgroup } from "../../src/platform/cgroup.ts";
import { signalProcess } from "../../src/platform/process-handle.ts";
import { caughtSignals, isLive, readEnviron, readStat } from "../../src/platform/proc.ts";
import type { ProcessId } from "../../src/platform/proc.ts";
import { lookupUser, spawnChild } from "../../src/platform/spawn.ts";
import type { ExitResult, SpawnOutcome, SpawnRequest } from "../../src/platform/spawn.ts";
import { ownPids } from "../../src/platform/subreaper.ts";
import { FIXTURES, until } from "./until.ts";

const asRoot = process.getuid?.() === 0;
const cgroupBase = detectCgroup().base;
let folder = "";
let log = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spawn-"));
  chmodSync(folder, 0o755);
  log = join(folder, "bot.log");
});
const pids: ProcessId[] = [];
afterEach(() => {
  for (const id of pids.splice(0)) signalProcess(id, "SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const output = (): string => readFileSync(log, "utf8");

/** Until `sleep` sleeps: before, its loader opens libraries, and during the exec it has no environment. */
const settled = (pid: number): Promise<true> =>
  until("the sleep", () => {
    const stat = readStat(pid);
    return stat?.comm === "sleep" && stat.state === "S";
  });

function descriptors(pid: number): Record<string, string> {
  const folderOf = `/proc/${pid}/fd`;
  return Object.fromEntries(readdirSync(folderOf).map((fd) => [fd, readlinkSync(join(folderOf, fd))]));
}

function spawn(
  command: string[],
  more: Partial<SpawnRequest> = {},
): { outcome: SpawnOutcome; ended: Promise<ExitResult> } {
  const exit = Promise.withResolvers<ExitResult>();
  const env = { PATH: "/usr/bin:/bin" };
  const outcome = spawnChild({ command, cwd: folder, env, outputPath: log, onExit: exit.resolve, ...more });
  return { outcome, ended: exit.promise };
}

function started(command: string[], more: Partial<SpawnRequest> = {}) {
  const { outcome, ended } = spawn(command, more);
  if (outcome.kind === "failed") throw new Error(outcome.reason);
  pids.push(outcome.child);
  return { ...outcome, ended };
}

test("spawnChild() gives the environment exactly as it is, /dev/null, the log file and no other descriptor", async () => {
  const env = { PATH: "/usr/bin:/bin", A: "x=y", B: "" };
  const { child, ended, outputError } = started(["sleep", "60"], { env });
  await settled(child.pid);
  expect(outputError).toBeUndefined();
  expect(readEnviron(child.pid)?.sort()).toEqual(["A=x=y", "B=", "PATH=/usr/bin:/bin"]);
  expect(descriptors(child.pid)).toEqual({ 0: "/dev/null", 1: log, 2: log });
  expect(statSync(log).mode & 0o777).toBe(0o640);
  child.signal("SIGKILL");
  await ended;
});

test("spawnChild() opens a session of its own and appends to the log that is there", async () => {
  writeFileSync(log, "before\n");
  const { child, ended } = started(["sh", "-c", "echo $0 out; echo err >&2; exec sleep 60"]);
  await until("the output", () => output().includes("err"));
  expect(readStat(child.pid)).toMatchObject({ session: child.pid, pgrp: child.pid, startTicks: child.startTicks });
  expect(output()).toBe("before\nsh out\nerr\n");
  expect(ownPids.has(child.pid)).toBe(true);
  expect(child.signal("SIGKILL")).toBe(true);
  expect(await ended).toEqual({ code: null, signal: "SIGKILL" });
  expect(ownPids.has(child.pid)).toBe(false);
});

test("signal() reaches a stopped child with SIGCONT behind it, and nobody once the child is gone", async () => {
  const { child, ended } = started(["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.01; done"]);
  await until("the trap", () => caughtSignals(child.pid)?.has(15));
  expect(child.signal("SIGSTOP")).toBe(true);
  await until("the stop", () => readStat(child.pid)?.state === "T");
  expect([child.signal("SIGTERM"), child.signal("SIGCONT")]).toEqual([true, true]);
  expect(await ended).toEqual({ code: 3, signal: null });
  expect(child.signal("SIGKILL")).toBe(false);
  expect(isLive(child.pid, child.startTicks)).toBe(false);
});

test("spawnChild() calls onExit after it returned, also for a child that ends at once", async () => {
  const { ended, child } = started(["true"]);
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(child.startTicks).toBeGreaterThan(0);
});

const fixtures: Record<string, () => void> = {
  noexec: () => writeFileSync(join(folder, "noexec"), "#!/bin/sh\n", { mode: 0o644 }),
  noshebang: () => writeFileSync(join(folder, "noshebang"), "echo hi\n", { mode: 0o755 }),
  badshebang: () => writeFileSync(join(folder, "badshebang"), "#!/no/such/python -u\n", { mode: 0o755 }),
  dangling: () => symlinkSync(join(folder, "gone"), join(folder, "dangling")),
};

test.each([
  [["foo"], {}, 'cannot start "foo": not found in PATH (/usr/bin:/bin)'],
  [["true"], { env: { PATH: "/nowhere" } }, 'cannot start "true": not found in PATH (/nowhere)'],
  [["noexec"], { env: { PATH: "." } }, 'cannot start "noexec": permission denied for DIR/noexec'],
  [["./noexec"], {}, "cannot start ./noexec: permission denied"],
  [["/no/such/bot"], {}, "cannot start /no/such/bot: no such file"],
  [["./dangling"], {}, "cannot start ./dangling: no such file"],
  [["/usr"], {}, "cannot start /usr: it is a folder"],
  [["./badshebang"], {}, "cannot start ./badshebang: its interpreter /no/such/python does not exist"],
  [
    ["./noshebang"],
    {},
    "cannot start ./noshebang: it is neither a program for this machine nor a script with a #! line",
  ],
  [["true"], { cwd: "/no/such/folder" }, "cannot start true: working folder /no/such/folder does not exist"],
  [["true"], { cwd: "/etc/passwd" }, "cannot start true: working folder /etc/passwd is not a folder"],
  [["/bin/true"], { cwd: "/no/such/folder" }, "cannot start /bin/true: working folder /no/such/folder does not exist"],
  [["/bin/true"], { cwd: "/etc/passwd" }, "cannot start /bin/true: working folder /etc/passwd is not a folder"],
  [["/etc/passwd"], {}, "cannot start /etc/passwd: permission denied"],
  [["/etc/passwd/bot"], {}, "cannot start /etc/passwd/bot: no such file"],
  [[""], {}, "cannot start the bot: the command is empty"],
])("spawnChild() names what can never start: %j %j", (command, more, reason) => {
  for (const make of Object.values(fixtures)) make();
  const { outcome } = spawn(command, more);
  expect(outcome).toEqual({ kind: "failed", permanent: true, reason: reason.replace("DIR", folder) });
});

test("spawnChild() finds a relative command in the bot's folder, not in ours", async () => {
  writeFileSync(join(folder, "bot.sh"), '#!/bin/sh\necho "$0 $1 in $(pwd)"\n', { mode: 0o755 });
  const { ended } = started(["./bot.sh", "a b"]);
  await ended;
  expect(output()).toBe(`${join(folder, "bot.sh")} a b in ${folder}\n`);
});

test("spawnChild() takes the first place of PATH that has the program now, and a later one once that is gone", async () => {
  const env = { PATH: `${join(folder, "a")}:${join(folder, "b")}` };
  const place = (name: string): string => join(folder, name, "bot");
  const put = (name: string): void => {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(place(name), `#!/bin/sh\necho ${name}\n`, { mode: 0o755 });
  };
  put("b");
  await started(["bot"], { env }).ended;
  await started(["bot"], { env }).ended;
  put("a");
  await started(["bot"], { env }).ended;
  rmSync(place("a"));
  await started(["bot"], { env }).ended;
  put("a");
  rmSync(place("b"));
  await started(["bot"], { env }).ended;
  chmodSync(place("a"), 0o644);
  put("b");
  await started(["bot"], { env }).ended;
  expect(output()).toBe("b\nb\na\nb\na\nb\n");
  rmSync(place("b"));
  expect(spawn(["bot"], { env }).outcome).toEqual({
    kind: "failed",
    permanent: true,
    reason: `cannot start "bot": permission denied for ${place("a")}`,
  });
});

test.each([
  ["in a folder that does not exist", (at: string) => join(at, "none", "bot.log"), /ENOENT/],
  ["a FIFO that nobody reads", (at: string) => join(at, "fifo"), /FIFO/],
])("spawnChild() starts the bot all the same when its log is %s, and says so", async (_, path, why) => {
  Bun.spawnSync({ cmd: ["mkfifo", join(folder, "fifo")] });
  const { child, outputError, ended } = started(["sleep", "60"], { outputPath: path(folder) });
  expect(outputError).toMatch(why);
  await settled(child.pid);
  expect(descriptors(child.pid)).toEqual({ 0: "/dev/null", 1: "/dev/null", 2: "/dev/null" });
  child.signal("SIGKILL");
  await ended;
});

test("spawnChild() calls a cgroup that cannot be joined a passing failure", () => {
  const { outcome } = spawn(["true"], { cgroup: join(folder, "not-a-cgroup") });
  expect(outcome).toMatchObject({ kind: "failed", permanent: false });
});

test.skipIf(cgroupBase === undefined)(
  "spawnChild() makes a cgroup that is gone, and starts the bot in it",
  async () => {
    const cgroup = join(cgroupBase ?? "", `test-${randomUUID()}`);
    try {
      const { ended } = started(["sh", "-c", "cat /proc/self/cgroup"], { cgroup });
      expect(await ended).toEqual({ code: 0, signal: null });
      expect(output()).toMatch(new RegExp(`^0::.*/${basename(cgroup)}$`, "m"));
    } finally {
      removeCgroup(cgroup);
    }
  },
);

test.runIf(asRoot)("spawnChild() as another user keeps nothing of root: ids, groups and capabilities", async () => {
  const user = lookupUser("nobody");
  writeFileSync(join(folder, "groups"), "");
  const { child, ended } = started(["sh", "-c", "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/$$/status; echo $$"], {
    user: user ?? { uid: 0, gid: 0 },
  });
  expect(await ended).toEqual({ code: 0, signal: null });
  const lines = output()
    .replace(/[ \t]+/g, " ")
    .trim()
    .split("\n")
    .map((line) => line.trim());
  const own = Bun.spawnSync({ cmd: ["id", "-G", "nobody"] })
    .stdout.toString()
    .trim();
  expect(lines).toEqual([
    `Uid: ${`${user?.uid} `.repeat(4).trim()}`,
    `Gid: ${`${user?.gid} `.repeat(4).trim()}`,
    `Groups: ${own}`,
    "CapEff: 0000000000000000",
    String(child.pid),
  ]);
});

test.runIf(asRoot)(
  "our own supplementary groups reach no child of another user, with a login name or without",
  async () => {
    const script = `
    const { spawnChild } = await import("${new URL("../../src/platform/spawn.ts", import.meta.url).pathname}");
    for (const name of [{ name: "nobody" }, {}]) {
      const gone = Promise.withResolvers();
      spawnChild({ command: ["grep", "Groups", "/proc/self/status"], cwd: "/", env: { PATH: "/bin:/usr/bin" },
        user: { uid: 65534, gid: 65534, ...name }, outputPath: "${log}", onExit: gone.resolve });
      await gone.promise;
    }`;
    const parent = Bun.spawn({
      cmd: ["setpriv", "--groups", "4,27", process.execPath, "-e", script],
      stdio: ["ignore", "inherit", "inherit"],
    });
    expect(await parent.exited).toBe(0);
    expect(output()).not.toMatch(/\b(?:4|27)\b/);
    expect(output().trim().split("\n")).toHaveLength(2);
  },
);

/** What the loader was told by a program's environment, it has written into files of whoever ran the program. */
function loaderVariables(): { readonly env: Record<string, string>; readonly owners: () => readonly number[] } {
  const notes = join(folder, "notes");
  mkdirSync(notes);
  chmodSync(notes, 0o777);
  const env = { LD_DEBUG: "statistics", LD_DEBUG_OUTPUT: join(notes, "ld") };
  return { env, owners: () => [...new Set(readdirSync(notes).map((name) => statSync(join(notes, name)).uid))] };
}

test.runIf(asRoot)(
  "no variable of the loader acts on a program that still has our rights, and the child has it all the same",
  async () => {
    const user = lookupUser("nobody") ?? { uid: 0, gid: 0 };
    const loader = loaderVariables();
    const env = { PATH: "/usr/bin:/bin", ...loader.env, A: "x=y" };
    const { ended } = started(["env"], { env, user, before: ["/bin/sh", "-c", 'exec "$@"', "sh"] });
    await ended;
    expect(loader.owners()).toEqual([user.uid]);
    const seen = output()
      .trim()
      .split("\n")
      .filter((line) => !/^(?:PWD|OLDPWD|SHLVL|_)=/.test(line));
    expect(seen.toSorted()).toEqual(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .toSorted(),
    );
  },
);

test.runIf(asRoot)("spawnChild() without the right to change users says so instead of a crash loop", async () => {
  const script = `
    const { spawnChild } = await import("${new URL("../../src/platform/spawn.ts", import.meta.url).pathname}");
    console.log(JSON.stringify(spawnChild({ command: ["true"], cwd: "/", env: { PATH: "/bin:/usr/bin" },
      user: { uid: 0, gid: 0, name: "root" }, outputPath: "/dev/null", onExit() {} })));`;
  const runtime = join(folder, "bun");
  // The runtime may lie where only root can read it.
  writeFileSync(runtime, readFileSync(process.execPath), { mode: 0o755 });
  const sources = new URL("../../src/", import.meta.url).pathname;
  const readable = Bun.spawnSync({
    cmd: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-r", sources],
  });
  if (readable.exitCode !== 0) return;
  const parent = Bun.spawnSync({
    cmd: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", runtime, "-e", script],
    env: { HOME: folder },
  });
  expect(JSON.parse(parent.stdout.toString() || "null")).toEqual({
    kind: "failed",
    permanent: true,
    reason: "cannot start true: becoming user root needs root or the capabilities CAP_SETUID and CAP_SETGID",
  });
});

test("lookupUser() knows root by name and by id, and nobody else's invention", () => {
  expect(lookupUser("root")).toMatchObject({ name: "root", uid: 0, gid: 0 });
  expect(lookupUser("0")).toMatchObject({ name: "root", uid: 0 });
  expect([lookupUser("no-such-user-here"), lookupUser("--help"), lookupUser("a:b")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("a child that ignores SIGTERM still lives after it", async () => {
  const { child, ended } = started(["sh", join(FIXTURES, "ignore-term.sh"), join(folder, "pid")]);
  await until("the trap", () => statSync(join(folder, "pid"), { throwIfNoEntry: false })?.size);
  child.signal("SIGTERM");
  expect(isLive(child.pid, child.startTicks)).toBe(true);
  child.signal("SIGKILL");
  expect((await ended).signal).toBe("SIGKILL");
});
