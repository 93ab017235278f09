/** Each way in which a state is found damaged: it is noticed, moved aside whole, and made again from what can be proven. */
import {
  cpSync,
  existsSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openStore, type LevelProposal, type StateStore } from "../../../src/bot/index.ts";
import { counted, filledState, makeFolder, position, POSITIONS, TRADES, VALUES } from "./rig.ts";

const PAGE = 4_096;
const WHOLE = { trades: TRADES, positions: POSITIONS, values: VALUES };

let base: ReturnType<typeof makeFolder>;
const folders: ReturnType<typeof makeFolder>[] = [];

beforeAll(async () => {
  base = makeFolder();
  await filledState(base.folder);
});

afterAll(() => base.remove());
afterEach(() => {
  for (const made of folders.splice(0)) made.remove();
});

function copyOfBase(): string {
  const made = makeFolder();
  folders.push(made);
  cpSync(base.folder, made.folder, { recursive: true });
  return made.folder;
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.byteLength, at);
  closeSync(fd);
}

/** Pages spread over the file, never the first; the same ones in each run. */
function garbagePages(path: string, count: number): void {
  const pages = statSync(path).size / PAGE;
  for (let n = 1; n <= count; n += 1) {
    const page = Math.floor((pages * n) / (count + 1));
    overwrite(
      path,
      page * PAGE,
      Uint8Array.from({ length: PAGE }, (_, at) => (at * 7 + n * 13) % 251),
    );
  }
}

/** In a column without an index, so that only the hash of the row can tell; also where an old copy of it lies around. */
function flipBit(path: string): void {
  const bytes = readFileSync(path);
  for (let at = bytes.indexOf("canary-17"); at >= 0; at = bytes.indexOf("canary-17")) bytes[at] = 0x62;
  writeFileSync(path, bytes);
}

interface Damage {
  readonly what: string;
  readonly harm: (database: string) => void;
  /** What is left at least where neither the second copy nor a backup is there. */
  readonly alone: { readonly trades: number; readonly positions: number; readonly values: number };
}

const NOTHING = { trades: 0, positions: 0, values: 0 };

const damages: readonly Damage[] = [
  { what: "page 1 zeroed", harm: (path) => overwrite(path, 0, new Uint8Array(PAGE)), alone: WHOLE },
  { what: "the header zeroed", harm: (path) => overwrite(path, 0, new Uint8Array(100)), alone: WHOLE },
  {
    what: "one garbage page",
    harm: (path) => garbagePages(path, 1),
    alone: { trades: TRADES - 40, positions: POSITIONS - 40, values: VALUES - 40 },
  },
  {
    what: "ten garbage pages",
    harm: (path) => garbagePages(path, 10),
    alone: { trades: TRADES - 250, positions: POSITIONS - 80, values: VALUES - 60 },
  },
  {
    what: "cut off at 60 %",
    harm: (path) => truncateSync(path, Math.floor((statSync(path).size * 0.6) / 512) * 512),
    alone: NOTHING,
  },
  { what: "one bit of a payload flipped", harm: flipBit, alone: { ...WHOLE, positions: POSITIONS - 1 } },
  { what: "0 bytes", harm: (path) => truncateSync(path, 0), alone: NOTHING },
  { what: "not there", harm: (path) => rmSync(path), alone: NOTHING },
];

test.each(damages)("openStore() makes a state with $what again from the second copy and a backup", async ({ harm }) => {
  const folder = copyOfBase();
  const database = join(folder, "state.db");
  harm(database);
  const damaged = existsSync(database) ? readFileSync(database) : undefined;
  const store = await openStore({ folder });
  try {
    expect(store.report).toMatchObject({ kind: "recovered", needsReconcile: expect.any(String) });
    expect(store.report.findings.length).toBeGreaterThan(0);
    expect(await counted(store)).toEqual(WHOLE);
    expect(await store.get("key7")).toHaveLength(20_008);
    expect(movedAside(store)?.equals(damaged ?? Buffer.of())).toBe(damaged === undefined ? undefined : true);
  } finally {
    await store.close();
  }
});

/** The damaged file, which must be as it was found. */
function movedAside(store: StateStore): Buffer | undefined {
  const { quarantine } = store.report;
  return quarantine === undefined ? undefined : readFileSync(join(quarantine, "state.db"));
}

test.each(damages)(
  "openStore() salvages what is whole of a state with $what and nothing beside it",
  async ({ harm, alone }) => {
    const folder = copyOfBase();
    for (const name of ["intents.ndjson", "state.backup.db"]) rmSync(join(folder, name));
    harm(join(folder, "state.db"));
    const store = await openStore({ folder });
    try {
      const left = await counted(store);
      expect(store.report.kind).toBe("recovered");
      expect(left.trades).toBeGreaterThanOrEqual(alone.trades);
      expect(left.positions).toBeGreaterThanOrEqual(alone.positions);
      expect(left.values).toBeGreaterThanOrEqual(alone.values);
    } finally {
      await store.close();
    }
  },
);

test("openStore() takes a database of another state for damage and mixes nothing of it in", async () => {
  const folder = copyOfBase();
  const other = makeFolder();
  folders.push(other);
  const foreign = await openStore({ folder: other.folder });
  await foreign.putPosition({ ...position(1), id: "foreign" });
  await foreign.close();
  cpSync(join(other.folder, "state.db"), join(folder, "state.db"));
  const store = await openStore({ folder });
  try {
    expect(store.report.findings.join(" ")).toMatch(/belongs to another state/);
    expect(await counted(store)).toEqual(WHOLE);
    expect((await store.positions()).some(({ id }) => id === "foreign")).toBe(false);
  } finally {
    await store.close();
  }
});

test("openStore() goes on with a recovery that died after it had moved the files aside", async () => {
  const folder = copyOfBase();
  for (const name of ["intents.ndjson", "state.backup.db"]) rmSync(join(folder, name));
  const aside = join(folder, "quarantine", "2026-01-01T00-00-00-000Z-dead");
  cpSync(join(folder, "state.db"), join(aside, "state.db"));
  rmSync(join(folder, "state.db"));
  const store = await openStore({ folder });
  try {
    expect(store.report.kind).toBe("recovered");
    expect(await counted(store)).toEqual(WHOLE);
  } finally {
    await store.close();
  }
  expect(readdirSync(aside)).toContain("report.json");
});

test("openStore() refuses a database of another program and leaves it where it is", async () => {
  const folder = copyOfBase();
  for (const name of ["intents.ndjson", "state.backup.db", "state.db.id"]) rmSync(join(folder, name));
  // Another application_id, at byte 68 of the header.
  overwrite(join(folder, "state.db"), 68, Uint8Array.of(1, 2, 3, 4));
  await expect(openStore({ folder })).rejects.toThrow(/another program/);
  expect(existsSync(join(folder, "quarantine"))).toBe(false);
});

test("a recovered state holds the level minimal until it was reconciled, also over a restart", async () => {
  const folder = copyOfBase();
  truncateSync(join(folder, "state.db"), 0);
  const proposals: LevelProposal[] = [];
  const propose = (proposal: LevelProposal): void => void proposals.push(proposal);
  await (await openStore({ folder, propose })).close();
  const store = await openStore({ folder, propose });
  expect(proposals.map(({ level }) => level)).toEqual(["minimal", "minimal"]);
  await store.reconciled();
  await store.close();
  const again = await openStore({ folder });
  expect(again.report).toMatchObject({ kind: "clean", needsReconcile: undefined });
  await again.close();
});
