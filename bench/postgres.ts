/** PostgreSQL: the processor time of a backup beside pg_dump's own compression, and how long a recovery to an instant takes. */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { missing, PgServer } from "../test/actions/backup/postgres-rig.ts";
import type { Row } from "./measure.ts";
import { ENV, type Options, type Rig } from "./rig.ts";

const ROWS = 4_000_000;
const QUICK_ROWS = 100_000;
const ROUNDS = 5;
/** The project's promise: a third of pg_dump's own. */
const TARGET_RATIO = 0.33;
const RECEIVE_MS = 60_000;
const POLL_MS = 50;

export async function benchPostgres(rig: Rig, { quick, supervisor }: Options): Promise<readonly Row[]> {
  if (missing !== undefined) throw new Error(`cannot measure backups of PostgreSQL: ${missing} is not installed`);
  await using server = new PgServer();
  await server.start(["max_wal_size=4GB", "fsync=on"]);
  const database = server.makeDatabase(10);
  server.sql(
    database,
    `CREATE TABLE ticks AS SELECT n AS id, now() + n * interval '1 second' AS at, 60000 + (n % 977) * 0.5 AS price, md5(n::text) AS client, repeat('order ', 12) AS note
     FROM generate_series(1, ${quick ? QUICK_ROWS : ROWS}) n; CREATE INDEX ON ticks (client); CREATE INDEX ON ticks (at)`,
  );
  const folder = rig.folderFor("postgres");
  const configured = (name: string, verify: string, pitr: boolean): readonly string[] => {
    const file = join(folder, `${name}.yaml`);
    const target = { kind: "postgres", url: server.url(database), pitr };
    const backups = {
      stores: { local: { kind: "directory", path: join(folder, name) } },
      targets: { ledger: target },
      verify: { every: verify },
    };
    const dirs = { stateDir: join(folder, `${name}-state`), runtimeDir: join(folder, `${name}-run`) };
    writeFileSync(
      file,
      JSON.stringify({ version: 1, ...dirs, bots: { idle: { command: ["sleep", "100000"] } }, backups }),
    );
    return ["--config", file];
  };
  const dump = [
    server.program("pg_dump"),
    "-h",
    server.folder,
    "-U",
    "postgres",
    "-Fc",
    "-f",
    join(folder, "plain.dump"),
    database,
  ];
  const own: number[] = [];
  const proven: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    proven.push(cpuMs([supervisor, "backup", "run", "ledger", ...configured("proven", "L1", false)]));
    // Right beside each other: what else the machine does is in both.
    own.push(cpuMs([supervisor, "backup", "run", "ledger", ...configured("stored", "L0", false)]));
    plain.push(cpuMs(dump));
    rmSync(join(folder, "stored", "ledger"), { recursive: true, force: true });
    rmSync(join(folder, "stored-state"), { recursive: true, force: true });
  }
  const paired = { baseline: { name: "pg_dump -Fc", values: plain }, paired: true } as const;
  const rto = await recover(rig, {
    server,
    database,
    supervisor,
    config: configured("pitr", "L1", true),
    store: join(folder, "pitr"),
  });
  return [
    {
      what: "backup of a database, rows counted, stored, checksums proven (L0): CPU",
      unit: "ms",
      values: own,
      ...paired,
      targetRatio: TARGET_RATIO,
    },
    { what: "the same, read to its end by pg_restore as well (L1): CPU", unit: "ms", values: proven, ...paired },
    { what: "recovery of the whole server to a millisecond before DROP TABLE: RTO", unit: "ms", values: [rto] },
  ];
}

interface Recovery {
  readonly server: PgServer;
  readonly database: string;
  readonly supervisor: string;
  readonly config: readonly string[];
  readonly store: string;
}

/** The whole command, from the base in the store to a data folder whose rows were all read. */
async function recover(rig: Rig, { server, database, supervisor, config, store }: Recovery): Promise<number> {
  cpuMs([supervisor, "backup", "run", "ledger", ...config]);
  rig.spawn([supervisor, "run", ...config]);
  const incoming = join(store, "ledger", "wal", "incoming");
  await until(() => existsSync(incoming) && readdirSync(incoming).length > 0);
  server.sql(database, "UPDATE trades SET price = 5");
  const at = server.sql(
    database,
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`,
  );
  server.sql(database, "SELECT pg_sleep(0.01); DROP TABLE trades CASCADE");
  const segment = server.sql(database, "SELECT pg_walfile_name(pg_switch_wal())");
  await until(() => existsSync(join(store, "ledger", "wal", segment)));
  const path = join(rig.folder, "recovered");
  const startMs = performance.now();
  cpuMs([supervisor, "restore", "ledger", "--at", at, "--to", path, ...config]);
  const rtoMs = performance.now() - startMs;
  await using recovered = await PgServer.on(path);
  if (recovered.sql(database, "SELECT count(*) FROM trades WHERE price = 5") !== "10")
    throw new Error("the dropped table did not come back as it was");
  return rtoMs;
}

async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + RECEIVE_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error("no WAL was received");
    await Bun.sleep(POLL_MS);
  }
}

/** User and system time of a command and everything that it waited for, as the shell tells it. */
function cpuMs(command: readonly string[]): number {
  const shell = ["/bin/bash", "-c", '"$@" > /dev/null || exit; TIMEFORMAT=; times', "bash", ...command];
  const { exitCode, stdout, stderr } = Bun.spawnSync({ cmd: shell, env: { ...ENV } });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${stderr.toString()}`);
  const [, children = ""] = stdout.toString().trim().split("\n");
  const seconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, rest]) => Number(minutes) * 60 + Number(rest),
  );
  return seconds.reduce((sum, each) => sum + each, 0) * 1_000;
}
