/** PostgreSQL's own programs as they are installed, by version: a server is dumped by a program as new as itself, or newer. */
import { NotJudgedError } from "../core/not-judged.ts";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { PostgresPlace } from "../core/postgres-url.ts";
import { passwordFile } from "./password-file.ts";

/** Folders of packages that keep several versions beside each other: Debian and Ubuntu, PGDG for RPM, SUSE. */
const VERSIONED = [
  { parent: "/usr/lib/postgresql", pattern: /^(\d+)$/ },
  { parent: "/usr", pattern: /^pgsql-(\d+)$/ },
  { parent: "/usr/lib", pattern: /^postgresql(\d+)$/ },
];
/** Debian's program of the same name starts the newest version through a script of perl. */
const WRAPPER = /pg_wrapper$/;
/** Longest wait for a connection, seconds. */
const CONNECT_SECONDS = 30;

export interface PgFolder {
  readonly folder: string;
  readonly major: number;
}

/** Every folder with programs of PostgreSQL, the oldest version first. */
export function postgresFolders(path = process.env["PATH"] ?? ""): readonly PgFolder[] {
  const versioned = VERSIONED.flatMap(({ parent, pattern }) =>
    namesIn(parent).flatMap((name) => {
      const major = pattern.exec(name)?.[1];
      const folder = join(parent, name, "bin");
      return major === undefined || !existsSync(folder) ? [] : [{ folder, major: Number(major) }];
    }),
  );
  const known = new Set(versioned.map(({ folder }) => folder));
  const others = path.split(":").flatMap((folder) => {
    const major = folder === "" || known.has(folder) ? undefined : majorIn(folder);
    return major === undefined ? [] : [{ folder, major }];
  });
  return [...versioned, ...others].toSorted((a, b) => a.major - b.major);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The version of the programs in a folder of PATH. */
function majorIn(folder: string): number | undefined {
  const program = join(folder, "pg_dump");
  try {
    if (WRAPPER.test(realpathSync(program))) return undefined;
    const { stdout } = Bun.spawnSync({ cmd: [program, "--version"], env: {}, stderr: "ignore" });
    return majorOf(/(\d+)(?:\.\d+)*\D*$/.exec(stdout.toString().trim())?.[0] ?? "");
  } catch {
    return undefined;
  }
}

/** 15 of `15.18 (Debian 15.18-0+deb12u1)`; `undefined` when it is no version. */
export function majorOf(version: string): number | undefined {
  const digits = /^(\d+)/.exec(version)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The program of this version, or of the next newer one. Throws what to install. */
export function postgresProgram(name: string, major: number, folders: readonly PgFolder[] = postgresFolders()): string {
  const having = folders.filter(({ folder }) => existsSync(join(folder, name)));
  const found = having.find((each) => each.major >= major);
  if (found !== undefined) return join(found.folder, name);
  const others = having.map((each) => each.major).join(", ");
  const server = ["initdb", "postgres"].includes(name);
  throw new NotJudgedError(
    `${name} of PostgreSQL ${major} or newer is not installed${others === "" ? "" : ` (there is ${others})`}; install postgresql-${server ? "" : "client-"}${major} (Debian, Ubuntu)`,
  );
}

/** The newest of the programs of this name. Throws what to install. */
export function newestProgram(name: string, folders: readonly PgFolder[] = postgresFolders()): string {
  const found = folders.findLast(({ folder }) => existsSync(join(folder, name)));
  if (found !== undefined) return join(found.folder, name);
  throw new NotJudgedError(`${name} is not installed; install postgresql-client (Debian, Ubuntu)`);
}

/** How a program of PostgreSQL reaches a database: by the environment, since every user of the machine can read arguments; the password by a file. */
export function connectionEnv(place: PostgresPlace, password: string | undefined): Record<string, string> {
  const file = password === undefined ? undefined : passwordFile(password);
  const given: Readonly<Record<string, string | undefined>> = {
    PGHOST: place.host,
    PGPORT: place.port === undefined ? undefined : String(place.port),
    PGUSER: place.user,
    PGDATABASE: place.database,
    PGPASSFILE: file,
    PGPASSWORD: file === undefined ? password : undefined,
    PGSSLMODE: place.sslmode,
    PGSSLROOTCERT: place.sslrootcert,
    // Where ~/.pgpass is.
    HOME: process.env["HOME"],
  };
  const set = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  return {
    ...Object.fromEntries(set),
    PGAPPNAME: "supervisor",
    PGCONNECT_TIMEOUT: String(CONNECT_SECONDS),
    PATH: "/usr/bin:/bin",
    // What a program says is shown, and read.
    LC_ALL: "C",
    PGTZ: "UTC",
  };
}
