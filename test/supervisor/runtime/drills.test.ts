/** The daemon's schedule of drills, and the job that it gives: from the bucket where there is one, compared with the target's own promise. */
import { expect, test, vi } from "vitest";
import { BACKUP_EXIT } from "../../../src/core/backup-job.ts";
import { readStat } from "../../../src/platform/proc.ts";
import { keepWorker } from "../../../src/platform/worker.ts";
import { drillLines, lastLineSha256 } from "../../../src/actions/backup/drill-record.ts";
import { drillReportSchema } from "../../../src/core/drill.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { drillJob, Drills, recordsOf, runDrill } from "../../../src/supervisor/runtime/drills.ts";
import { FakeClock } from "../../harness/fake-clock.ts";
import { scratchFolder } from "../config/folder.ts";
import { recordOfBackup } from "./backup-record.ts";

const folder = scratchFolder();
const DAY_MS = 86_400_000;
const load = (stateDir: string, drill = "", more = "", targets: readonly string[] = []) =>
  folder.load(
    [
      "version: 1",
      `stateDir: ${stateDir}`,
      "bots: { a: { command: [sh] } }",
      "backups:",
      "  stores:",
      "    local: { kind: directory, path: store }",
      '    away: { kind: s3, endpoint: "http://127.0.0.1:1", bucket: vault, accessKeyIdEnv: ID, secretAccessKeyEnv: KEY }',
      "  targets:",
      "    conf: { kind: files, paths: [x], rpo: 26h }",
      "    here: { kind: files, paths: [x], stores: [local] }",
      ...targets,
      `  drill: { ${drill} }`,
      more,
      "",
    ].join("\n"),
    { ID: "id", KEY: "secret" },
  );
const drillsOf = (
  loaded: ReturnType<typeof load>,
  clock: FakeClock,
  more: Partial<ConstructorParameters<typeof Drills>[0]> = {},
) => new Drills({ loaded, clock, random: () => 0, version: "test", say: () => undefined, ...more });

test("drillJob() takes each target from its first bucket, else its directory, and its own promise before the common one", () => {
  const job = drillJob(load("job"), { trigger: "manual", user: "ops", version: "test" });
  expect(job.targets).toMatchObject([
    {
      target: "conf",
      store: "away",
      from: { kind: "bucket", remote: { secretAccessKey: "secret" } },
      rpoSeconds: 93_600,
    },
    { target: "here", store: "local", from: { kind: "folder" }, rpoSeconds: 21_600 },
  ]);
  expect(() => drillJob(load("job"), { trigger: "manual", store: "away", user: "ops", version: "test" })).toThrow(
    "cannot drill here: it does not go to the store away",
  );
});

test("drillJob() has a target with pitr restored twice: its dump, and its server to an instant from where bases are", () => {
  const targets = [
    "    ledger: { kind: postgres, url: 'postgres://bot@/book', pitr: true }",
    "    big: { kind: postgres, url: 'postgres://bot@/book', pitr: true, engine: pgbackrest, pgbackrest: { stanza: main } }",
  ];
  const loaded = load("job", "", "", targets);
  const options = { trigger: "manual", user: "ops", version: "test" } as const;
  const made = (more: object) =>
    drillJob(loaded, { ...options, targets: ["ledger", "big"], ...more }).targets.map((each) => [
      each.target,
      each.store,
      each.instant?.database,
    ]);
  expect(made({})).toEqual([
    ["ledger", "away", undefined],
    ["ledger", "away", "book"],
    ["big", "away", undefined],
    ["big", "local", "book"],
  ]);
  expect(made({ store: "away" })).toHaveLength(3);
});

test("Drills is due at the first run of the schedule after it began to count, and overdue an hour later once something was backed up", () => {
  // The clock of the tests starts on the first of a month.
  const clock = new FakeClock();
  clock.advance(DAY_MS);
  const drills = drillsOf(load("due"), clock);
  drills.look(clock.wallTime().getTime());
  expect(drills.status()).toMatchObject({ lastAt: null, nextAt: "2026-02-01T00:00:00.000Z", overdue: false });
  clock.advance(30 * DAY_MS + 2 * 3_600_000);
  expect(drills.status()).toMatchObject({ nextAt: "2026-02-01T00:00:00.000Z", overdue: false });
  folder.write("due/backups/conf@local.json", recordOfBackup(clock));
  expect(drills.status()).toMatchObject({ overdue: true });
});

test.each([
  ["says why a drill was not made", BACKUP_EXIT.space, ["the drill failed: room: none left"], 0],
  ["says nothing while another drill is under way, has its worker looked for", BACKUP_EXIT.busy, [], 1],
])("Drills %s, and looks again later", async (_, code, told, asked) => {
  const clock = new FakeClock();
  const said: string[] = [];
  const ended = { code, failure: "room: none left" };
  const run = vi.fn<() => Promise<typeof ended>>(() => Promise.resolve(ended));
  const onBusy = vi.fn<() => void>();
  const drills = drillsOf(load(`ended-${code}`), clock, { say: (__, text) => void said.push(text), run, onBusy });
  const look = async () => {
    drills.look(clock.wallTime().getTime());
    await vi.waitFor(() => expect(drills.status()?.running).toBe(false));
  };
  await look();
  folder.write(`ended-${code}/backups/conf@local.json`, recordOfBackup(clock));
  clock.advance(32 * DAY_MS);
  await look();
  await look();
  expect(said).toEqual(told);
  expect(run).toHaveBeenCalledTimes(1);
  expect(onBusy).toHaveBeenCalledTimes(asked);
  clock.advance(3_600_000);
  await look();
  expect(run).toHaveBeenCalledTimes(2);
});

test.each([
  ["the schedule is never", "schedule: never", ""],
  [
    "the private key is elsewhere",
    "",
    "  encryption: { recipients: [age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq] }",
  ],
])("Drills has no schedule where %s", (_, drill, more) => {
  const clock = new FakeClock();
  const drills = drillsOf(load("none", drill, more), clock);
  drills.look(clock.wallTime().getTime());
  expect(drills.status()).toBeUndefined();
});

test("a drill from a store that is not there is a mistake", () => {
  expect(() => load("wrong", "store: nowhere")).toThrow('there is no store "nowhere"; name one of: local, away');
});

test("Drills shows a drill as running that the version before has begun, and begins none, until its worker ends", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const startTicks = readStat(child.pid)?.startTicks ?? 0;
  const clock = new FakeClock();
  const run = vi.fn<() => Promise<{ code: number; failure: undefined }>>(() =>
    Promise.resolve({ code: 0, failure: undefined }),
  );
  const drills = drillsOf(load("carried"), clock, { run });
  drills.look(clock.wallTime().getTime());
  folder.write("carried/backups/conf@local.json", recordOfBackup(clock));
  clock.advance(32 * DAY_MS);
  keepWorker(
    { pid: child.pid, startTicks, endsAtMs: Number.POSITIVE_INFINITY, memory: undefined, work: "drill" },
    clock,
  );
  expect(drills.status()?.running).toBe(true);
  drills.look(clock.wallTime().getTime());
  expect(run).not.toHaveBeenCalled();
  child.kill("SIGKILL");
  await child.exited;
  clock.advance(1_000);
  expect(drills.status()?.running).toBe(false);
  drills.look(clock.wallTime().getTime());
  expect(run).toHaveBeenCalledTimes(1);
});

/** Shortened: who is stopped is missed in half a second. */
const HANG = { lookMs: 50, stoppedMs: 500, hungMs: 500, waitMs: undefined };
const HUNG = "the worker hung and was ended: it was stopped for 1 s (SIGSTOP)";

test("runDrill() records a drill whose worker hung as a failed one, with the others in the chain of the log", async () => {
  const loaded = load("hung");
  const job = drillJob(loaded, { trigger: "manual", user: "ops", version: "test" });
  const told: unknown[] = [];
  const drill = async () =>
    runDrill(job, {
      clock: systemClock,
      program: ["/bin/sh", "-c", "kill -STOP $$"],
      hang: HANG,
      onLine: (line) => void told.push(line),
    });
  expect(await drill()).toEqual({ code: BACKUP_EXIT.deadline, failure: HUNG, killed: "hung" });
  const first = lastLineSha256(job.records);
  await drill();
  const reports = drillLines(job.records).map((line) => drillReportSchema.parse(JSON.parse(line)));
  const failed = { ok: false, broken: HUNG, by: { user: "ops" }, rpoSeconds: null, rtoMet: false, rpoMet: false };
  const targets = [{ target: "conf", ok: false, backups: [] }, { target: "here" }];
  expect(reports).toMatchObject([
    { ...failed, targets, previousSha256: null },
    { ...failed, previousSha256: first },
  ]);
  expect(told).toEqual(reports.map((report) => ({ kind: "drilled", report })));
  const status = drillsOf(loaded, new FakeClock()).status();
  expect(status).toMatchObject({ id: reports[1]?.id, ok: false, objectivesMet: false, lastError: HUNG });
});

test("Drills records the hang of a drill that it has not begun as a failed one, and tells it", () => {
  const said: string[] = [];
  const loaded = load("hung-before");
  const clock = new FakeClock();
  const drills = drillsOf(loaded, clock, { say: (level, text) => void said.push(`${level} ${text}`) });
  const since = clock.wallTime();
  clock.advance(600_000);
  drills.noteKilled({ code: BACKUP_EXIT.deadline, failure: HUNG, killed: "hung" }, since);
  expect(said).toEqual([`alert the drill failed: ${HUNG}`]);
  expect(drills.status()).toMatchObject({ ok: false, lastError: HUNG, lastAt: clock.wallTime().toISOString() });
  const [line = ""] = drillLines(recordsOf(loaded));
  expect(JSON.parse(line)).toMatchObject({ startedAt: since.toISOString(), rtoSeconds: 600 });
});
