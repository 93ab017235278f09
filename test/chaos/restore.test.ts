/** Restores on the compiled binary: the daemon stops and starts the bot, and ends what a kill has broken off before any bot starts. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const DIE = join(import.meta.dirname, "..", "fixtures", "restore-and-die.ts");
/** Notes how many orders it finds when it starts, then stays. */
const COUNTING = ["sh", "-c", "sqlite3 ../bot.db 'SELECT count(*) FROM orders' >> ../seen; exec sleep 600"];

/** Hears nothing once the file is there. */
const DEAF = ["sh", "-c", "trap '' TERM; : > deaf; while :; do sleep 0.05; done"];

const config = {
  backups: {
    stores: { local: { kind: "directory", path: "store" } },
    targets: {
      state: { kind: "sqlite", path: "bot.db", bots: ["bot"] },
      conf: { kind: "files", paths: ["notes"] },
    },
  },
};

function sql(rig: Rig, text: string): string {
  return execFileSync("sqlite3", [rig.path("bot.db"), text])
    .toString()
    .trim();
}

/** Three orders are backed up, a fourth is lost by a restore. */
async function stage(rig: Rig): Promise<void> {
  sql(rig, "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2), (3)");
  writeFileSync(rig.path("notes"), "n");
  expect((await rig.cli("backup", "run")).code).toBe(0);
  sql(rig, "INSERT INTO orders VALUES (4)");
}

/** A restore whose worker kills itself after the step. */
async function restoreAndDie(rig: Rig, step: string): Promise<void> {
  const [id = ""] = readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-"));
  const job = {
    version: 1,
    target: { kind: "sqlite", name: "state", path: rig.path("bot.db") },
    from: { kind: "backup", folder: rig.path("store"), id },
    into: { kind: "live" },
    bots: ["bot"],
    stateDir: rig.state(""),
    socket: rig.state("run/control.sock"),
  };
  const stdin = Buffer.from(JSON.stringify(job));
  const worker = Bun.spawn([process.execPath, DIE, step], { stdin, stdout: "ignore" });
  await worker.exited;
  expect(worker.signalCode).toBe("SIGKILL");
}

const levelFile = (rig: Rig): string => readFileSync(rig.state("run/bots/bot.level"), "utf8").trim();

test.concurrent("a restore stops its bot, starts it with level minimal, and the bot or a person ends that", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  await rig.run();
  const before = await rig.botUntil("it runs", ({ state }) => state === "running");
  expect(await rig.cli("restore", "state")).toMatchObject({ code: 2 });
  const done = await rig.cli("restore", "state", "--yes");
  expect(done).toMatchObject({ code: 0 });
  expect(done.out).toMatch(/loses +what was written in the .* since\n/);
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("3");
  const after = await rig.bot();
  expect(after).toMatchObject({ state: "running", level: "minimal" });
  expect(after.lastExit).toMatchObject({ cause: "stopped", detail: "stopped for a restore of state" });
  expect(after.pid).not.toBe(before.pid);
  expect(levelFile(rig)).toBe("minimal");
  const out = "bot agrees with its account again after its restore; it is running\n";
  expect(await rig.cli("arm", "bot", "--reason", "looked at it")).toMatchObject({ code: 0, out });
  expect(levelFile(rig)).toBe("normal");
  expect(await rig.cli("arm", "bot", "--reason", "again")).toMatchObject({ code: 1 });

  expect((await rig.cli("restore", "state", "--yes", "--json")).code).toBe(0);
  expect(levelFile(rig)).toBe("minimal");
  const unix = rig.state("run/bots/bot.sock");
  const said = await fetch("http://bot/v1/reconciled", { method: "POST", unix });
  expect(await said.json()).toEqual({ level: "normal" });
  expect(levelFile(rig)).toBe("normal");
});

test.concurrent("a bot that a person stops during a restore stays down after it, and one that is started again does not", async () => {
  const targets = { state: { kind: "sqlite", path: "bot.db", bots: ["bot", "other", "slow", "late"] } };
  const deaf = { command: DEAF, stopTimeout: "4s" };
  const bots = { bot: { command: STAY }, other: { command: STAY }, slow: deaf, late: { command: STAY } };
  await using rig = new Rig({ bots, config: { backups: { ...config.backups, targets } } });
  await stage(rig);
  await rig.run();
  for (const name of Object.keys(bots))
    await rig.botUntil("it runs", ({ state }) => state === "running", undefined, name);
  await until("it is deaf", () => existsSync(rig.path("deaf")));
  const restore = rig.cli("restore", "state", "--yes");
  await rig.botUntil("the restore waits for it", ({ state }) => state === "stopping", undefined, "slow");
  const held = await rig.bot("bot");
  expect(held).toMatchObject({
    state: "stopped",
    reason: expect.stringMatching(
      /^stopped for a restore of state, which has not ended \(it began 20\S+Z, from state-full-/,
    ),
    restore: { target: "state", backup: expect.stringMatching(/^state-full-/), since: expect.any(String) },
  });
  expect((await rig.cli("status")).out).toContain(`bot: ${held.reason}`);
  // The restore has stopped the one before, and comes to the other afterwards.
  for (const name of ["bot", "late"])
    // Safe: one order after the other.
    // oxlint-disable-next-line no-await-in-loop
    expect((await rig.cli("stop", name)).code).toBe(0);
  expect(await restore).toMatchObject({ code: 0 });
  expect(await rig.bot("other")).toMatchObject({ state: "running", generation: 2, restore: null });
  const events = await rig.cli("events", "--bot", "other");
  expect(events.out).toContain("running → stopping: stopped for a restore of state\n");
  expect(events.out).toContain("the restore of state that had stopped it starts it again\n");
  expect(await rig.bot("slow")).toMatchObject({ state: "running", generation: 2 });
  for (const name of ["bot", "late"])
    // Safe: one question after the other.
    // oxlint-disable-next-line no-await-in-loop
    expect(await rig.bot(name)).toMatchObject({ state: "stopped", wanted: false, generation: 1, reason: null });
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect(await rig.cli("restore", "state", "--yes")).toMatchObject({ code: 0 });
  expect(await rig.bot("bot")).toMatchObject({ state: "running", generation: 3 });
});

test.concurrent("the daemon takes a restore back that was killed, before it starts the bot", async () => {
  await using rig = new Rig({ bots: { bot: { command: COUNTING, cwd: "empty" } }, config });
  execFileSync("mkdir", [rig.path("empty")]);
  await stage(rig);
  await restoreAndDie(rig, "moved");
  expect(rig.read("bot.db")).toBe("");
  await rig.run();
  await until("the bot has looked", () => rig.read("seen") !== "");
  expect(rig.read("seen")).toBe("4\n");
  expect((await rig.bot()).level).toBe("normal");
});

test.concurrent("a running daemon takes a killed restore back, and starts the bot that it had stopped", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  await rig.run();
  const before = await rig.botUntil("it runs", ({ state }) => state === "running");
  await restoreAndDie(rig, "swapped");
  const after = await rig.botUntil("it runs again", ({ state }) => state === "running");
  expect(after).toMatchObject({ level: "normal" });
  expect(after.pid).not.toBe(before.pid);
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("4");
  // A journal that nobody can read may be of any bot's data: none is started until a person has looked.
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  const journal = rig.state("backups/restores/state.restore.json");
  writeFileSync(journal, "{");
  const refused = await rig.cli("start", "bot");
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("a restore of state has not ended") });
  rmSync(journal);
  expect((await rig.cli("start", "bot")).code).toBe(0);
});

test.concurrent("restores without a daemon, into a folder, of one table, and says when there is no such backup", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  expect(await rig.cli("restore", "state", "--at", "1d")).toMatchObject({ code: 10 });
  expect((await rig.cli("restore", "state", "--list")).out).toMatch(
    /^BACKUP .* NOTES\nstate-full-.* local .* verified\n$/,
  );
  expect((await rig.cli("restore", "state", "--dry-run")).code).toBe(0);
  expect((await rig.cli("restore", "state", "--to", "copy")).code).toBe(0);
  expect(readdirSync(rig.path("copy"))).toEqual(["bot.db"]);
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("4");
  const [good] = readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-"));
  for (const how of ["--yes", "--dry-run"])
    expect(await rig.cli("restore", "state", "--table", "nosuch", how)).toMatchObject({ code: 2 });
  expect(await rig.cli("restore", "conf", "--table", "orders", "--dry-run")).toMatchObject({ code: 2 });
  expect(await rig.cli("restore", "state", "--table", "orders", "--yes")).toMatchObject({ code: 0 });
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("3");
  expect(readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-"))).toHaveLength(2);
  expect((await rig.cli("restore", "state", "--list")).out).toMatch(
    /verified {2}made before a restore: only by --id\n$/,
  );
  for (const more of [[], ["--table", "orders"]]) {
    // Safe: kills follow each other on one folder.
    // oxlint-disable-next-line no-await-in-loop
    const again = await rig.cli("restore", "state", ...more, "--dry-run", "--json");
    expect(JSON.parse(again.out)).toMatchObject({ plan: { backup: good, up: [] } });
  }
  writeFileSync(rig.path("notes"), "spoilt");
  const done = await rig.cli("restore", "conf", "--yes", "--json");
  expect(JSON.parse(done.out)).toMatchObject({ plan: { target: "conf" }, result: { code: 0, failure: null } });
  expect(rig.read("notes")).toBe("n");
  expect((await rig.cli("backup", "export", "conf", "--plain", "notes.tar.gz")).code).toBe(0);
  expect(execFileSync("tar", ["-tzf", rig.path("notes.tar.gz")]).toString()).toContain("notes");
  expect((await rig.cli("restore", "conf", "--file", "notes.tar.gz", "--yes")).code).toBe(0);
  rmSync(rig.path("store"), { recursive: true });
  for (const command of ["backup list", "backup verify state", "restore state --list", "restore state --dry-run"])
    // Safe: kills follow each other on one folder.
    // oxlint-disable-next-line no-await-in-loop
    expect(await rig.cli(...command.split(" "))).toMatchObject({
      code: 3,
      err: expect.stringContaining("is not there"),
    });
  expect(await rig.cli("backup", "run", "state")).toMatchObject({ code: 5 });
  expect(readdirSync(rig.folder)).not.toContain("store");
});

test.concurrent("a restore is refused before anything is read for a folder that is not empty, or a key that is not there", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  const filled = await rig.cli("restore", "conf", "--to", rig.folder, "--dry-run");
  expect(filled).toMatchObject({ code: 3, out: "", err: expect.stringContaining("is not empty") });
  const encryption = {
    recipients: ["age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm"],
    identityFile: "own",
  };
  rig.configure({ bot: { command: STAY } }, { backups: { ...config.backups, encryption } });
  expect(await rig.cli("config", "check")).toMatchObject({
    code: 0,
    err: expect.stringContaining("identityFile: cannot read"),
  });
  for (const how of ["--yes", "--dry-run"])
    expect(await rig.cli("restore", "conf", how)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringMatching(/cannot restore conf: cannot read the private key/),
    });
  expect(rig.read("notes")).toBe("n");
});

test.concurrent("a restore is refused for a key that does not open the backup, or for none, with --dry-run too", async () => {
  const keys = await Promise.all([generateX25519Identity(), generateX25519Identity()]);
  const [own = "", other = ""] = await Promise.all(keys.map((key) => identityToRecipient(key)));
  const bots = { bot: { command: STAY } };
  const withKey = (identityFile?: string) => ({
    backups: { ...config.backups, encryption: { recipients: [own], ...(identityFile && { identityFile }) } },
  });
  await using rig = new Rig({ bots, config: withKey("own.key") });
  for (const [index, name] of ["own.key", "other.key"].entries())
    writeFileSync(rig.path(name), `${keys[index]}\n`, { mode: 0o600 });
  await stage(rig);
  expect(await rig.cli("restore", "conf", "--dry-run")).toMatchObject({ code: 0, err: "" });
  for (const [file, why] of [
    ["other.key", `(${other}) does not open the backup; it was encrypted for ${own}`],
    [undefined, "the backup is encrypted, and no identityFile is given"],
  ] as const) {
    rig.configure(bots, withKey(file));
    for (const how of ["--dry-run", "--yes"])
      // Safe: one restore after the other, on one folder.
      // oxlint-disable-next-line no-await-in-loop
      expect(await rig.cli("restore", "conf", how)).toMatchObject({
        code: 3,
        out: "",
        err: expect.stringContaining(why),
      });
  }
  expect(readdirSync(rig.path("store/conf")).filter((name) => name.startsWith("conf-"))).toHaveLength(1);
});

test.concurrent("a file that cannot be restored is refused before anything is backed up, with --dry-run too", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  const files = { "state.bin": /its name must end in/, "old.rdb": /holds redis/, "a.db.enc": /--password-file/ };
  for (const [name, why] of Object.entries(files)) {
    writeFileSync(rig.path(name), "x");
    for (const how of ["--yes", "--dry-run"])
      expect(await rig.cli("restore", "state", "--file", name, how)).toMatchObject({
        code: 3,
        out: "",
        err: expect.stringMatching(why),
      });
  }
  expect(readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-"))).toHaveLength(1);
});

test.concurrent("a restore backs up what is there first, and one that cannot be read holds nothing up", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config });
  await stage(rig);
  const stored = (): number => readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-")).length;
  const done = await rig.cli("restore", "state", "--yes", "--json");
  const { result } = JSON.parse(done.out);
  expect([done.code, stored()]).toEqual([0, 2]);
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("3");
  // The fourth order is in what was saved.
  expect((await rig.cli("restore", "state", "--id", result.saved, "--yes", "--no-backup")).code).toBe(0);
  expect([sql(rig, "SELECT count(*) FROM orders"), stored()]).toEqual(["4", 2]);
  writeFileSync(rig.path("bot.db"), "no database".repeat(500));
  const rescued = await rig.cli("restore", "state", "--yes");
  expect(rescued).toMatchObject({
    code: 0,
    err: expect.stringMatching(/cannot be backed up first .*kept aside as it is/),
  });
  expect([sql(rig, "SELECT count(*) FROM orders"), stored()]).toEqual(["3", 2]);
  rmSync(rig.path("bot.db"));
  expect(await rig.cli("restore", "state", "--yes")).toMatchObject({ code: 0, err: "" });
  expect(await rig.cli("restore", "state", "--table", "orders", "--no-backup", "--yes")).toMatchObject({ code: 2 });
});

test.concurrent("what the disk does not take of a reconciliation is said to the bot and to a person, and the bot is held to little", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  // No file, so that it can be neither read nor removed.
  mkdirSync(rig.state("bots/bot/restored.json/x"), { recursive: true });
  await rig.run();
  await rig.botIn("running");
  const said = await fetch("http://bot/v1/reconciled", { method: "POST", unix: rig.state("run/bots/bot.sock") });
  expect(said.status).toBe(500);
  const message = expect.stringMatching(/^cannot note that the records agree with the account: .*restored\.json/);
  expect(await said.json()).toEqual({ error: { code: "notNoted", message } });
  const armed = await rig.cli("arm", "bot", "--reason", "looked");
  expect(armed).toMatchObject({ code: 1, err: expect.stringMatching(/^cannot arm bot: .*restored\.json/) });
  expect(levelFile(rig)).toBe("minimal");
});
