/** A disk that fails: what is written or read is answered with EIO, as by a broken device. Supervision goes on, and nothing counts as absent that could not be read. */
import { chmodSync, readdirSync } from "node:fs";
import { Database } from "bun:sqlite";
import { expect, test } from "vitest";
import { readProc } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { processesIn } from "./processes.ts";

/** Only where ptrace is allowed and strace is installed. */
const possible = Bun.spawnSync(["strace", "-o", "/dev/null", "true"], { stderr: "ignore" }).exitCode === 0;

/** Arguments of strace that has these system calls fail, on these files where some are named; nothing of it is kept. */
function failing(calls: string, paths: readonly string[]): string[] {
  const places = paths.flatMap((path) => ["-P", path]);
  return [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    `trace=${calls}`,
    "-e",
    `inject=${calls}:error=EIO`,
    ...places,
  ];
}

/** System calls of a process that lives fail until the scope ends or they are `heal`ed. */
async function ailing(
  pid: number,
  calls: string,
  paths: readonly string[] = [],
): Promise<AsyncDisposable & { heal: () => Promise<void> }> {
  const tracer = Bun.spawn([...failing(calls, paths), "-p", String(pid)], { stdio: ["ignore", "ignore", "ignore"] });
  const traced = (thread: string): boolean =>
    readProc(`/proc/${pid}/task/${thread}/status`)?.includes(`TracerPid:\t${tracer.pid}\n`) === true;
  await until("every thread is traced", () => readdirSync(`/proc/${pid}/task`).every(traced));
  const heal = async (): Promise<void> => {
    tracer.kill("SIGINT");
    await tracer.exited;
  };
  return { heal, [Symbol.asyncDispose]: heal };
}

/** A program that runs the supervisor and has reads of these files fail from the first one on. */
function blindTo(rig: Rig, ...files: readonly string[]): string {
  const words = [
    ...failing(
      "read,pread64",
      files.map((file) => rig.state(file)),
    ),
    "-D",
    rig.binary,
  ];
  const script = rig.write("blind", `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}

test
  .runIf(possible)
  .concurrent(
    "a disk that cannot flush keeps no close from being made, and gets the lockout when it can (needs strace)",
    async () => {
      await using paper = await startPaper();
      await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
      await rig.run();
      const { pid } = await rig.botIn("running");
      await using disk = await ailing(rig.daemon.pid, "fsync,fdatasync");
      process.kill(pid ?? Number.NaN, "SIGKILL");
      await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
      process.kill(rig.daemon.pid, "SIGUSR2");
      await rig.botIn("locked");
      expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
      expect(rig.read("daemon.err")).toContain("EIO");
      await disk.heal();
      await until("the lockout is on the disk", () =>
        rig.read("daemon.err").includes("what the disk did not take of the lockout is on it now"),
      );
      await rig.endDaemon("SIGKILL");
      await rig.run();
      expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { state: "flat" } });
    },
  );

test
  .runIf(possible)
  .concurrent("a journal that cannot be written costs lines, which are counted (needs strace)", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    await using disk = await ailing(rig.daemon.pid, "write,pwrite64", [rig.state("journal/000001.ndjson")]);
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
    expect((await rig.status()).supervisor).toMatchObject({ health: "degraded" });
    expect((await rig.status()).supervisor.journalDropped).toBeGreaterThan(0);
    await disk.heal();
    expect((await rig.cli("restart", "bot")).code).toBe(0);
    expect(rig.journal.at(-1)?.bot).toBe("bot");
  });

test.runIf(possible).concurrent("a lockout that cannot be read locks all the same (needs strace)", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botIn("running");
  process.kill(rig.daemon.pid, "SIGUSR2");
  await rig.botIn("locked");
  await rig.endDaemon("SIGKILL");
  const lockouts = ["bots/bot/lock.json"];
  await rig.run({}, blindTo(rig, ...lockouts));
  expect(await rig.botIn("locked")).toMatchObject({ pid: null });
});

test
  .runIf(possible)
  .concurrent("a bot whose identity cannot be read is not started beside itself (needs strace)", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    await rig.endDaemon("SIGKILL");
    await rig.run({}, blindTo(rig, "bots/bot/identity.json"));
    const now = await rig.botIn("running");
    expect(now.pid).not.toBe(pid);
    expect(processesIn(rig.folder).map((each) => each.pid)).not.toContain(pid);
    expect(rig.read("daemon.err")).toContain("EIO");
  });

test.runIf(possible).concurrent("a backup that cannot be flushed is none (needs strace)", async () => {
  const backups = {
    stores: { local: { kind: "directory", path: "store" } },
    targets: { state: { kind: "sqlite", path: "bot.db" } },
  };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups } });
  using database = new Database(rig.path("bot.db"));
  database.run("CREATE TABLE trades (id INTEGER PRIMARY KEY)");
  const command = [...failing("fsync,fdatasync", []), rig.binary, "backup", "run", "state"];
  const run = Bun.spawn(command, { cwd: rig.folder, stdout: "ignore", stderr: "pipe" });
  expect(await new Response(run.stderr).text()).toMatch(/EIO|I\/O error/);
  expect(await run.exited).not.toBe(0);
  const listed = async () => JSON.parse((await rig.cli("backup", "list", "--json")).out).backups;
  expect(await listed()).toEqual([]);
  expect((await rig.cli("backup", "run", "state")).code).toBe(0);
  expect(await listed()).toMatchObject([{ target: "state", proven: "L1" }]);
});
