/** A full disk under the supervisor's own files: supervision and the emergency go on, and what was lost is counted. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readJournal } from "../../src/actions/incident-history.ts";
import { closeReportSchema } from "../../src/core/close-job.ts";
import type { BotStatus } from "../../src/core/status.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { ordersSent, startPaper } from "./paper.ts";

/** A file system of 256 KiB at a folder of the rig; unmounted with the scope. */
function tinyDisk(folder: string): Disposable & { fill: () => void; free: () => void } {
  mkdirSync(folder, { recursive: true });
  const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs", folder]);
  if (exitCode !== 0) throw new Error(`cannot mount a tmpfs: ${stderr.toString()}`);
  return {
    /** Takes every byte that is left. */
    fill() {
      for (let bytes = 65_536; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        for (let n = 0; ; n += 1) {
          try {
            writeFileSync(join(folder, `ballast-${bytes}-${n}`), "x".repeat(bytes));
          } catch {
            break;
          }
        }
      }
    },
    free() {
      for (const name of readdirSync(folder)) if (name.startsWith("ballast-")) rmSync(join(folder, name));
    },
    [Symbol.dispose]() {
      Bun.spawnSync(["umount", "-l", folder]);
    },
  };
}

/** The folder cannot be written to by its path until the scope ends or the disk is `heal`ed. */
function readOnly(folder: string): Disposable & { heal: () => void } {
  Bun.spawnSync(["mount", "--bind", folder, folder]);
  Bun.spawnSync(["mount", "-o", "remount,bind,ro", folder]);
  const heal = (): void => void Bun.spawnSync(["umount", "-l", folder], { stderr: "ignore" });
  return { heal, [Symbol.dispose]: heal };
}

/** Only root may mount, and not in every container. */
function mayMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  return (
    Bun.spawnSync(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stderr: "ignore" }).exitCode === 0
  );
}

const possible = mayMount();

test
  .runIf(possible)
  .concurrent("a journal on a full disk costs lines, not the restart and not the emergency", async () => {
    await using paper = await startPaper();
    await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
    using disk = tinyDisk(rig.state("journal"));
    await rig.run();
    const { pid } = await rig.botIn("running");
    disk.fill();
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
    // The last page of the journal's file has some room left.
    await until("the journal loses lines", async () => {
      expect((await rig.cli("restart", "bot")).code).toBe(0);
      return (await rig.status()).supervisor.journalDropped > 0;
    });
    expect((await rig.status()).supervisor).toMatchObject({
      health: "degraded",
      journal: expect.stringContaining("cannot write to the journal: "),
    });
    await rig.botIn("running");
    const { code, out } = await rig.cli("status");
    expect({ code, out }).toEqual({ code: 1, out: expect.stringContaining("\ncannot write to the journal: ") });
    disk.free();
    await until("the journal is written again", async () => (await rig.status()).supervisor.journal === null);
    expect((await rig.cli("status")).code).toBe(0);
    disk.fill();
    process.kill(rig.daemon.pid, "SIGUSR2");
    await rig.botIn("locked");
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    expect(JSON.parse(rig.read(".supervisor/bots/bot/lock.json"))).toMatchObject({ outcome: "flat" });
  });

test
  .runIf(possible)
  .concurrent("a log file on a full disk costs its lines; with room again it goes on, every line whole", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    using disk = tinyDisk(rig.path("logs"));
    await rig.run({ LOG_FILE: "logs/own.log" });
    await rig.botIn("running");
    disk.fill();
    const said = (words: string): boolean => rig.journal.some(({ text }) => text.startsWith(words));
    await until("lines are lost", async () => {
      expect((await rig.cli("restart", "bot")).code).toBe(0);
      return said("cannot write to the log file: ");
    });
    disk.free();
    await until("it is written again", async () => {
      expect((await rig.cli("restart", "bot")).code).toBe(0);
      return said("the log file is written again; it misses ");
    });
    const lines = rig.read("logs/own.log").trimEnd().split("\n");
    const torn = lines.filter((line) => !/^20\d\d-[\d-]+T[\d:.]+Z . \S+  /.test(line));
    // What fitted on the disk of the line during which it became full is a line of its own.
    expect(torn.length).toBeLessThanOrEqual(1);
    expect(lines.at(-1)).toMatch(/^20\d\d-/);
    expect((await rig.bot()).restarts.total).toBe(0);
  });

test
  .runIf(possible)
  .concurrent("a full state folder keeps neither the bot from running nor the lockout from lasting", async () => {
    await using paper = await startPaper();
    const bot = { command: STAY, emergency: emergencyAt(paper.url) };
    await using rig = new Rig({ bots: { bot }, config: { runtimeDir: "run", logDir: "log" } });
    using disk = tinyDisk(rig.path(".supervisor"));
    await rig.run();
    const { pid } = await rig.botIn("running");
    disk.fill();
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
    writeFileSync(rig.path("run/emergency"), "", { mode: 0o600 });
    await rig.botIn("locked");
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    expect(rig.read("daemon.err")).toMatch(/the lockout of bot is on the disk, in \S+\/lock\.slot, and holds;/);
    expect(rig.read("daemon.err")).not.toContain("cannot write the lockout");
    await rig.endDaemon("SIGKILL");
    await rig.run();
    expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { state: "flat" } });
  });

test
  .runIf(possible)
  .concurrent("what a close on a full disk did is said, and written as soon as there is room", async () => {
    await using paper = await startPaper();
    const bot = { command: STAY, emergency: emergencyAt(paper.url) };
    await using rig = new Rig({ bots: { bot }, config: { runtimeDir: "run", logDir: "log" } });
    using disk = tinyDisk(rig.path(".supervisor"));
    await rig.run();
    await rig.botIn("running");
    disk.fill();
    writeFileSync(rig.path("run/emergency"), "", { mode: 0o600 });
    const { emergency } = await rig.botIn("locked");
    const incident = emergency.incident ?? "";
    const spare = rig.path("run/bots/bot.incidents.json");
    const owed = `lines of the journal and the report of incident ${incident} yet, kept in ${spare}`;
    expect(emergency.owed).toMatch(/^the lockout of bot is on the disk, in /);
    await until("that is said", () => rig.read("daemon.err").includes(owed));
    expect(rig.read(`.supervisor/bots/bot/incidents/${incident}.json`)).toBe("");
    // Nothing of what cannot be kept is a reason to refuse.
    const armed = await rig.cli("arm", "bot", "--reason", "a test");
    expect(armed).toMatchObject({ code: 0 });
    expect(rig.read("daemon.err")).toContain("preflight ok: an emergency close would work");
    expect((await rig.botIn("running")).emergency.owed).toContain(owed);
    const { code, out } = await rig.cli("status");
    expect({ code, out }).toEqual({ code: 1, out: expect.stringContaining(`\nbot: the disk has not taken `) });
    const shown = await rig.cli("emergency", "report", incident, "--json");
    expect(JSON.parse(shown.out)).toMatchObject({ incident, outcome: "flat" });
    await rig.endDaemon("SIGKILL");
    await rig.run();
    await rig.botUntil(
      "the next supervisor knows of it",
      ({ emergency: { owed: left } }) => left?.includes(owed) === true,
    );
    disk.free();
    await rig.botUntil("it is written", ({ emergency: { owed: left } }) => left === null);
    const folder = `.supervisor/bots/bot/incidents/${incident}`;
    expect(JSON.parse(rig.read(".supervisor/bots/bot/closes.json")).closes).toMatchObject([{ incident }]);
    const report = closeReportSchema.parse(JSON.parse(rig.read(`${folder}.json`)));
    expect(report).toMatchObject({ incident, outcome: "flat" });
    const { history } = readJournal(rig.path(`${folder}.ndjson`));
    expect(history.orders.map(({ id, outcome }) => ({ id, outcome }))).toEqual(
      report.orders.map(({ id }) => ({ id, outcome: "accepted" })),
    );
    expect(history).toMatchObject({ endedFlat: true, before: { positions: [{}, {}] } });
    await until("all is well", async () => (await rig.cli("status")).code === 0);
    expect((await rig.cli("emergency", "report", incident)).out).toContain(incident);
  });

test
  .runIf(possible)
  .concurrent("what a close on a full disk did is not lost when its supervisor is killed before it ends", async () => {
    await using paper = await startPaper();
    const bot = { command: STAY, emergency: emergencyAt(paper.url) };
    await using rig = new Rig({ bots: { bot }, config: { runtimeDir: "run", logDir: "log" } });
    using disk = tinyDisk(rig.path(".supervisor"));
    await rig.run();
    await rig.botIn("running");
    disk.fill();
    await paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 1_000, times: 2 });
    process.kill(rig.daemon.pid, "SIGUSR2");
    await until("the first order of the close is on its way", () => ordersSent(paper.state()) > 0);
    await rig.endDaemon("SIGKILL");
    const spare = "run/bots/bot.incidents.json";
    await until("its worker has come to the end", () => rig.read(spare) !== "");
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    disk.free();
    await rig.run();
    await rig.botUntil("the close is over", ({ state, emergency }) => state === "locked" && emergency.owed === null);
    await until("all of it is on the disk", () => rig.read(spare) === "");
    const report = JSON.parse((await rig.cli("emergency", "report", "bot", "--json")).out);
    const { history } = readJournal(rig.path(`.supervisor/bots/bot/incidents/${report.incident}.ndjson`));
    expect(history.orders.map(({ outcome }) => outcome)).toEqual(["accepted", "accepted"]);
  });

test
  .runIf(possible)
  .concurrent("a new state folder on a full disk starts no bot, and keeps no close from being made", async () => {
    await using paper = await startPaper();
    const bot = { command: STAY, emergency: emergencyAt(paper.url) };
    await using rig = new Rig({ bots: { bot }, config: { runtimeDir: "run", logDir: "log" } });
    using disk = tinyDisk(rig.path(".supervisor"));
    disk.fill();
    const refused = await rig.cli("run");
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain("cannot supervise bot: no room can be taken for its lockout: ");
    const closed = await rig.cli("emergency", "close", "bot", "--yes");
    expect({ code: closed.code, flat: paper.state().flat }).toEqual({ code: 0, flat: true });
    expect(closed.err).toContain(`the lockout of bot is in ${rig.path("run/bots/bot.lock.json")} alone`);
    disk.free();
    await rig.run();
    expect(await rig.botIn("locked")).toMatchObject({ emergency: { state: "flat" } });
    await rig.botUntil("what the close did is on the disk", ({ emergency }) => emergency.owed === null);
    expect(JSON.parse((await rig.cli("emergency", "report", "--json")).out)).toMatchObject({ outcome: "flat" });
  });

test
  .runIf(possible)
  .concurrent(
    "a state folder that is read-only keeps no close from being made, and gets the lockout when it can be written again",
    async () => {
      await using paper = await startPaper();
      await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
      await rig.run();
      const { pid } = await rig.botIn("running");
      using disk = readOnly(rig.state("."));
      process.kill(pid ?? Number.NaN, "SIGKILL");
      await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
      process.kill(rig.daemon.pid, "SIGUSR2");
      await rig.botIn("locked");
      expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
      expect(rig.read(".supervisor/bots/bot/lock.json")).toBe("");
      disk.heal();
      const written = "what the disk did not take of the lockout is on it now";
      await until("the lockout is on the disk", () => rig.read("daemon.err").includes(written));
      await rig.botUntil("and what the close did", ({ emergency }) => emergency.owed === null);
      const { out } = await rig.cli("emergency", "report", "bot", "--json");
      expect(JSON.parse(out)).toMatchObject({ outcome: "flat", orders: [{}, {}] });
      expect(JSON.parse(rig.read(".supervisor/bots/bot/closes.json")).closes).toMatchObject([{ outcome: "flat" }]);
      expect(JSON.parse(rig.read(".supervisor/bots/bot/identity.json"))).toMatchObject({ generation: 2 });
      await rig.endDaemon("SIGKILL");
      await rig.run();
      expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { state: "flat" } });
    },
  );

test
  .runIf(possible)
  .concurrent("an identity that the disk did not take is written before a new version judges by it", async () => {
    const names = ["bot0", "bot1", "bot2"];
    await using rig = new Rig({ bots: Object.fromEntries(names.map((name) => [name, { command: STAY }])) });
    await rig.run();
    const pidsOf = async (generation: number): Promise<readonly number[]> => {
      const runs = ({ state, generation: is }: BotStatus): boolean => state === "running" && is === generation;
      await until(`all run as ${generation}`, async () => (await rig.status()).bots.every(runs));
      return (await rig.status()).bots.map(({ pid }) => pid ?? Number.NaN);
    };
    const pids = await pidsOf(1);
    using disk = readOnly(rig.state("bots"));
    for (const pid of pids) process.kill(pid, "SIGKILL");
    const replaced = await pidsOf(2);
    disk.heal();
    expect(await rig.cli("upgrade", "--binary", rig.binary)).toMatchObject({ code: 0, err: "" });
    expect((await rig.status()).bots.map(({ pid, adopted }) => adopted && pid)).toEqual(replaced);
  });
