/** What is saved of 5000 rows for each kind of damage, with neither a second copy nor a backup: every row that stands on a page which is left. */
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore } from "../../../src/bot/index.ts";
import { lookAtState } from "../../../src/bot/state/check.ts";
import { openToRead } from "../../../src/bot/state/database.ts";
import { stateFiles } from "../../../src/bot/state/files.ts";
import { makeFolder, trade } from "./rig.ts";

const PAGE = 4_096;
const ROWS = 5_000;

const KEPT = 0.6;

let base: ReturnType<typeof makeFolder>;
/** How many trades stand on which page, the first being 0. */
let rowsOn: ReadonlyMap<number, number>;

beforeAll(async () => {
  base = makeFolder();
  const store = await openStore({ folder: base.folder });
  await Promise.all(
    Array.from({ length: ROWS }, (_, n) =>
      store.addTrade({ ...trade(n), clientOrderId: `canary-${n}-${"x".repeat(110)}` }),
    ),
  );
  await store.close();
  const database = await openToRead(stateFiles(base.folder).database);
  const leaves = database
    .prepare("SELECT pageno - 1, ncell FROM dbstat WHERE name = 'trades' AND pagetype = 'leaf'")
    .raw(true)
    .all();
  database.close();
  rowsOn = new Map(leaves.map((row) => (Array.isArray(row) ? [Number(row[0]), Number(row[1])] : [0, 0])));
});

afterAll(() => base.remove());

/** Pages spread over a file of so many, never the first; the same ones in each run. */
function garbagePages(pages: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, n) => Math.floor((pages * (n + 1)) / (count + 1)));
}

function garbage(count: number) {
  return (path: string): void => {
    const bytes = readFileSync(path);
    for (const page of garbagePages(bytes.byteLength / PAGE, count)) bytes.fill(0xa5, page * PAGE, (page + 1) * PAGE);
    writeFileSync(path, bytes);
  };
}

/** By SQLite's own account (https://sqlite.org/dbstat.html) of the whole database: trades that stand on other pages than these. */
function rowsBut(lost: readonly number[]): number {
  return [...rowsOn].filter(([page]) => !lost.includes(page)).reduce((sum, [, rows]) => sum + rows, 0);
}

function zeroed(bytes: number) {
  return (path: string): void => writeFileSync(path, readFileSync(path).fill(0, 0, bytes));
}

function cut(path: string): void {
  truncateSync(path, Math.floor((statSync(path).size / PAGE) * KEPT) * PAGE);
}

/** In a column without an index, so that only the hash of the row can tell. */
function flipped(path: string): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf("canary-4711-");
  bytes[at] = 0x62;
  writeFileSync(path, bytes);
}

/** `undefined` where they cannot be read: what a clean open does not look at shows then, and the next open recovers it. */
async function tradesLeft(folder: string): Promise<number | undefined> {
  const store = await openStore({ folder });
  try {
    return (await store.trades(0)).length;
  } catch {
    return undefined;
  } finally {
    await store.close();
  }
}

test.each([
  { what: "page 1 zeroed", harm: zeroed(PAGE), saved: () => ROWS },
  { what: "the header zeroed", harm: zeroed(100), saved: () => ROWS },
  { what: "1 garbage page", harm: garbage(1), saved: (pages: number) => rowsBut(garbagePages(pages, 1)) },
  { what: "10 garbage pages", harm: garbage(10), saved: (pages: number) => rowsBut(garbagePages(pages, 10)) },
  {
    what: "60 % of its bytes left",
    harm: cut,
    saved: (pages: number) => rowsBut(Array.from({ length: pages }, (_, n) => n).slice(Math.floor(pages * KEPT))),
  },
  { what: "one bit of a payload flipped", harm: flipped, saved: () => ROWS - 1 },
  { what: "0 bytes", harm: (path: string) => truncateSync(path, 0), saved: () => 0 },
])("openStore() saves every trade that is left of a database with $what", async ({ harm, saved }) => {
  const made = makeFolder();
  try {
    const files = stateFiles(made.folder);
    for (const name of ["state.db", "state.db.id"]) copyFileSync(join(base.folder, name), join(made.folder, name));
    const pages = statSync(files.database).size / PAGE;
    harm(files.database);
    expect(await lookAtState(files, { now: Date.now(), full: true, readonly: true })).toMatchObject({
      kind: "damaged",
    });
    expect((await tradesLeft(made.folder)) ?? (await tradesLeft(made.folder))).toBe(saved(pages));
  } finally {
    made.remove();
  }
});
