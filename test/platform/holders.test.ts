/** Who has a file: another process by descriptor, by mapping, by lock; never ourselves. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { expect, test } from "vitest";
import { holdersOf } from "../../src/platform/holders.ts";

const folder = (): Disposable & { readonly path: string } => {
  const path = mkdtempSync(join(tmpdir(), "holders-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
};

test("holdersOf() finds nobody for files that nobody uses or that are not there", () => {
  using place = folder();
  const file = join(place.path, "a");
  writeFileSync(file, "a");
  expect(holdersOf([file, join(place.path, "none")])).toEqual([]);
});

test("holdersOf() names a process that has the file open, and not itself", async () => {
  using place = folder();
  const file = join(place.path, "bot.db");
  const own = new Database(file);
  own.exec("CREATE TABLE t (a)");
  const child = Bun.spawn(["sleep", "60"], { stdio: [Bun.file(file), "ignore", "ignore"] });
  try {
    expect(holdersOf([file])).toEqual([child.pid]);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    own.close();
  }
  expect(holdersOf([file])).toEqual([]);
});

test("holdersOf() names a connection to a database by the log beside it", async () => {
  using place = folder();
  const file = join(place.path, "bot.db");
  execFileSync("sqlite3", [file, "PRAGMA journal_mode=WAL; CREATE TABLE t (a)"]);
  const child = Bun.spawn(["sqlite3", file], { stdin: "pipe", stdout: "pipe" });
  try {
    void child.stdin.write("SELECT count(*) FROM t;\n");
    void child.stdin.flush();
    await child.stdout.getReader().read();
    expect(holdersOf([`${file}-shm`])).toEqual([child.pid]);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
