/** Incremental backups, PostgreSQL and Redis in the section backups: what is refused, with which words, and what is made of the rest. */
import { expect, test } from "vitest";
import { backupJob } from "../../../src/supervisor/runtime/backup-run.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const withTarget = (target: string): string =>
  [
    "version: 1",
    "bots: { a: { command: [sh] } }",
    "backups:",
    "  stores: { local: { kind: directory, path: store } }",
    `  targets: { it: ${target} }`,
    "",
  ].join("\n");

test.each([
  [
    "{ kind: sqlite, path: bot.db, incremental: 15m }",
    'bot.yaml:5: backups.targets.it.incremental: incremental backups are made between full ones; add the schedule of those, as schedule: "@daily"',
  ],
  [
    '{ kind: sqlite, path: bot.db, schedule: "@daily", incremental: 5s }',
    "bot.yaml:5: backups.targets.it.incremental: is too often; write at least 1m",
  ],
  [
    "{ kind: files, paths: [x], schedule: '@daily', incremental: 15m }",
    expect.stringMatching(/^bot\.yaml:5: backups\.targets\.it\.incremental: .*known/),
  ],
  [
    '{ kind: redis, url: "redis://ops:secret@127.0.0.1" }',
    "bot.yaml:5: backups.targets.it.url: holds a password; write it into a file and name that in passwordFile",
  ],
  [
    '{ kind: postgres, url: "postgres://bot:secret@127.0.0.1/ledger" }',
    "bot.yaml:5: backups.targets.it.url: holds a password; write it into a file and name that in passwordFile",
  ],
  [
    '{ kind: postgres, url: "postgres://h/ledger", engine: pgbackrest, pgbackrest: { stanza: main } }',
    "bot.yaml:5: backups.targets.it.engine: pgBackRest makes the bases and WAL of pitr; add pitr: true",
  ],
  [
    '{ kind: postgres, url: "postgres://h/ledger", pitr: true, engine: pgbackrest }',
    "bot.yaml:5: backups.targets.it.engine: pgBackRest needs to know its stanza; add pgbackrest: { stanza: NAME }",
  ],
  [
    '{ kind: postgres, url: "postgres://h/ledger", pitr: true, pgbackrest: { stanza: main } }',
    "bot.yaml:5: backups.targets.it.pgbackrest: is of use with engine: pgbackrest only; add that, or leave it out",
  ],
  [
    '{ kind: postgres, url: "postgres://h/ledger", passwordFile: a, passwordEnv: B }',
    "bot.yaml:5: backups.targets.it.passwordEnv: the password is in passwordFile already; name one of the two",
  ],
])("loadConfig() refuses the target %s", (target, mistake) => {
  expect(folder.mistakes(withTarget(target))).toEqual([mistake]);
});

test("backupJob() has the password of the file without its line feed, and says which file is missing", () => {
  const loaded = folder.load(withTarget('{ kind: redis, url: "redis://127.0.0.1", passwordFile: pw }'));
  const place = { target: "it", store: "local" };
  const make = () => backupJob(loaded, place, { trigger: "manual", version: "test" });
  expect(make).toThrow(`cannot read the password file ${folder.dir}/pw: it does not exist`);
  folder.write("pw", "geheim \n");
  expect(make().target).toMatchObject({ kind: "redis", password: "geheim " });
});

test("loadConfig() takes the database of POSTGRES_* where a target of kind postgres names none, and says so when it is no address", () => {
  const env = { POSTGRES_HOST: "db", POSTGRES_USER: "bot", POSTGRES_DB: "ledger", POSTGRES_PASSWORD: "geheim" };
  const jobOf = (target: string) =>
    backupJob(
      folder.load(withTarget(target), env),
      { target: "it", store: "local" },
      { trigger: "manual", version: "test" },
    );
  expect(jobOf("{ kind: postgres }").target).toMatchObject({ url: "postgres://bot@db/ledger", password: "geheim" });
  const other = jobOf('{ kind: postgres, url: "postgres://h/other", passwordEnv: POSTGRES_USER }');
  expect(other.target).toMatchObject({ url: "postgres://h/other", password: "bot" });
  expect(() => jobOf("{ kind: postgres, passwordEnv: NOWHERE }")).toThrow("there is no variable NOWHERE");
  expect(folder.mistakes(withTarget("{ kind: postgres }"), { ...env, POSTGRES_PORT: "high" })).toEqual([
    expect.stringMatching(/backups\.targets\.it\.url: is not the address .* \(from \$POSTGRES_HOST/),
  ]);
});
