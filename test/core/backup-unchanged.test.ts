/** When a stored backup is taken for what a source holds now, and what is remembered of that. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  emptyState,
  LEVELS,
  provenLevel,
  withVerification,
  type BackupState,
  type Manifest,
  type Verification,
} from "../../src/core/backup-manifest.ts";
import { backupOfNow } from "../../src/core/backup-unchanged.ts";

const NOW = "2026-11-21T12:00:00.000Z";
const MARK = "a".repeat(64);
const seen: Verification = { level: "L1", at: "2026-11-20T02:00:00.000Z", ok: true, durationMs: 1, detail: null };
const proven = withVerification(emptyState, seen);
const refuted = withVerification(proven, { ...seen, ok: false, detail: "data.000 is damaged" });

interface Stored {
  readonly manifest: Manifest;
  readonly state: BackupState;
}

const stored = (id: string, more: Partial<Manifest> = {}, state = proven): Stored => ({
  manifest: {
    version: 1,
    id,
    target: "state",
    type: "sqlite",
    kind: "full",
    base: null,
    trigger: "schedule",
    createdAt: "2026-11-20T02:00:01.000Z",
    snapshotAt: "2026-11-20T02:00:00.000Z",
    durationMs: 1,
    tool: { name: "supervisor", version: "1" },
    host: "here",
    origin: "/bot.db",
    raw: { name: "bot.db", bytes: 1, crc32: 1 },
    codec: { compress: "zstd", encrypt: null, recipients: [] },
    parts: [],
    content: {},
    engine: { name: "SQLite", version: "3" },
    sourceMark: MARK,
    ...more,
  },
  state,
});
const delta: Partial<Manifest> = { kind: "delta", base: "full" };
const chosen = (backups: readonly Stored[], incremental: boolean, mark: string | undefined = MARK) =>
  backupOfNow(backups, { mark, incremental, now: NOW })?.manifest.id;

test.each<[string, readonly Stored[], string | undefined, string | undefined]>([
  ["the newest full one", [stored("old"), stored("full")], "full", "full"],
  ["a delta only where one is to be made", [stored("full"), stored("delta", delta)], undefined, "delta"],
  ["none of another mark", [stored("full", { sourceMark: "b".repeat(64) })], undefined, undefined],
  ["none without a mark", [stored("full", { sourceMark: undefined })], undefined, undefined],
  ["no older one", [stored("full"), stored("newer", { sourceMark: "b".repeat(64) })], undefined, undefined],
  ["none that is not proven", [stored("full", {}, emptyState)], undefined, undefined],
  ["none that was found damaged", [stored("full", {}, refuted)], undefined, undefined],
  ["no delta without its base", [stored("delta", delta)], undefined, undefined],
  ["no delta of a damaged base", [stored("full", {}, refuted), stored("delta", delta)], undefined, undefined],
  ["none of before a restore", [stored("full", { trigger: "pre-restore" })], undefined, undefined],
  ["none of the future", [stored("full", { snapshotAt: "2026-11-22T02:00:00.000Z" })], undefined, undefined],
  ["the dump beside a newer base of the server", [stored("full"), stored("base", { kind: "base" })], "full", "full"],
])("backupOfNow() finds %s", (_, backups, full, incremental) => {
  expect([chosen(backups, false), chosen(backups, true)]).toEqual([full, incremental]);
});

test("backupOfNow() finds nothing for a source without a mark, even beside backups without one", () => {
  const all = [stored("full"), stored("other", { sourceMark: undefined })];
  expect(backupOfNow(all, { mark: undefined, incremental: true, now: NOW })).toBe(undefined);
});

test("withVerification() keeps the proven level whatever it forgets, and the rare proofs of high levels through thousands of low ones", () => {
  const one = fc.record({ level: fc.constantFrom(...LEVELS), ok: fc.boolean() });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 18 }), (drawn) => {
      const all = drawn.map((each): Verification => ({ ...seen, ...each }));
      const whole = { ...emptyState, verifications: all };
      expect(provenLevel(all.reduce(withVerification, emptyState))).toBe(provenLevel(whole));
    }),
  );
  const high = withVerification(emptyState, { ...seen, level: "L3" });
  const after = Array.from({ length: 1_000 }, () => seen).reduce(withVerification, high);
  expect(provenLevel(after)).toBe("L3");
});
