/**
 * A PostgreSQL server of our own on a folder of ours: reachable only there, and gone when we are. The server refuses to run as root,
 * so it then runs as another user, who reaches the folder through a descriptor whatever the rights of the folders above.
 */
import { NotJudgedError } from "../core/not-judged.ts";
import { chownSync, closeSync, openSync } from "node:fs";
import { sleep, systemClock } from "./clock.ts";
import { postgresProgram } from "./postgres-tools.ts";
import { feedProgram, lastLines, type PipeRequest } from "./program-pipe.ts";
import { PsqlSession } from "./psql.ts";
import { lookupUser, switchUser, type User } from "./user.ts";

/** The data folder as the programs see it: their descriptor 3. */
const FOLDER = "/proc/self/fd/3";
const SUPERUSER = "postgres";
/** Users of this kind own nothing of ours. */
const OTHER_USERS = ["postgres", "nobody"];
/** Replaying the log of some days may take long. */
const START_TIMEOUT_MS = 3 * 3_600_000;
const POLL_MS = 50;
const MAX_LOG = 65_536;

/**
 * Its life ends with our end of its standard input, however we end; the kernel takes it first when memory runs out. A shell
 * between us makes that so: it alone reaps the server, so that it never kills another's process.
 * What has to end at once is told so (SIGQUIT: no checkpoint), again and again as a server that just begins does not hear it, and is
 * killed only after some 10 s: what is killed leaves its segment of System V memory, and where all of the machine's 4 096 (shmmni) are
 * taken no server of PostgreSQL starts.
 */
const LEASH = `echo 1000 > /proc/$$/oom_score_adj; "$@" 2>&1 & exec > /dev/null 2>&1
read -r word; if [ "$word" = stop ]; then kill -INT $!; else turns=0
while [ $turns -lt 600 ] && kill -QUIT $!; do [ $turns -lt 500 ] || kill -9 $!; sleep 0.02; turns=$((turns + 1)); done; fi; wait $!`;

/** What a server on scratch must not have, whatever a restored folder asks for. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: "",
  unix_socket_directories: ".",
  unix_socket_permissions: "0700",
  logging_collector: "off",
  log_destination: "stderr",
  log_min_messages: "log",
  ssl: "off",
  archive_mode: "off",
  autovacuum: "off",
  shared_preload_libraries: "",
  session_preload_libraries: "",
  // In the folder, with which it goes: in /dev/shm, as usual, a server that is killed leaves a MiB of the machine's memory until it boots.
  dynamic_shared_memory_type: "mmap",
  // A container's /dev/shm may be small.
  max_parallel_workers_per_gather: "0",
  max_parallel_maintenance_workers: "0",
  max_wal_senders: "0",
  cluster_name: "",
};

interface ScratchOptions {
  readonly major: number;
  /** Default: postgres. */
  readonly superuser?: string;
  readonly settings?: Readonly<Record<string, string>>;
}

export class ScratchServer {
  readonly #fd: number;
  readonly #user: User | undefined;
  readonly #major: number;
  readonly #superuser: string;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "ignore">;
  readonly #over = new AbortController();
  #log = "";

  private constructor(
    fd: number,
    user: User | undefined,
    { major, superuser = SUPERUSER, settings = {} }: ScratchOptions,
  ) {
    this.#fd = fd;
    this.#user = user;
    this.#major = major;
    this.#superuser = superuser;
    const program = postgresProgram("postgres", major);
    const words = Object.entries({ ...SETTINGS, ...settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const { prefix, spawnOptions } = switchUser(user);
    this.#child = Bun.spawn({
      cmd: [...prefix, "/bin/sh", "-c", LEASH, "sh", program, "-D", FOLDER, ...words],
      cwd: "/",
      env: { ...ENVIRONMENT },
      ...spawnOptions,
      stdio: ["pipe", "pipe", "ignore", fd],
    });
    // The server and its children are the last to hold it.
    void this.#collect().then(() => this.#over.abort());
  }

  /** A new and empty server in the folder, which is there, empty and ours. Nothing in it survives a crash of the machine. */
  static async make(folder: string, major: number): Promise<ScratchServer> {
    const user = scratchUser();
    giveAway(folder, user);
    const fd = openSync(folder, "r");
    try {
      const options = ["-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
      const command = [postgresProgram("initdb", major), "-D", FOLDER, ...options] as const;
      await feedProgram({ command, env: ENVIRONMENT, fds: [fd], user });
      const settings = { fsync: "off", full_page_writes: "off", synchronous_commit: "off" };
      return await ScratchServer.#started(new ScratchServer(fd, user, { major, settings }));
    } catch (cause) {
      closeSync(fd);
      throw cause;
    }
  }

  /** A server on a data folder that is there and belongs to `scratchUser()`. Resolves when it answers, that is after any recovery. */
  static async on(folder: string, options: ScratchOptions): Promise<ScratchServer> {
    const fd = openSync(folder, "r");
    try {
      return await ScratchServer.#started(new ScratchServer(fd, scratchUser(), options));
    } catch (cause) {
      closeSync(fd);
      throw cause;
    }
  }

  static async #started(server: ScratchServer): Promise<ScratchServer> {
    const untilMs = systemClock.monotonicMs() + START_TIMEOUT_MS;
    while (!server.#over.signal.aborted && systemClock.monotonicMs() < untilMs) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait.
      const session = await server.psql("template1").catch(() => undefined);
      // oxlint-disable-next-line no-await-in-loop -- Safe: it ends the loop.
      await session?.close();
      if (session !== undefined) return server;
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait.
      await sleep(systemClock, POLL_MS, server.#over.signal);
    }
    await server.#end("kill");
    throw new Error(`the server on scratch does not start: ${faultOf(server.#log)}`);
  }

  /** What it has said so far. */
  get log(): string {
    return this.#log;
  }

  psql(database: string): Promise<PsqlSession> {
    const program = postgresProgram("psql", this.#major);
    return PsqlSession.open({ program, env: this.#env(database), fds: [this.#fd], user: this.#user });
  }

  /** How a program of PostgreSQL is started so that it reaches a database of this server. */
  reaching(database: string, command: readonly [string, ...string[]]): PipeRequest {
    return { command, env: this.#env(database), fds: [this.#fd], user: this.#user };
  }

  /** Ends it: in order, so that its folder is whole, or at once where nobody needs that. */
  async stop(how: "stop" | "kill" = "kill"): Promise<void> {
    await this.#end(how);
    closeSync(this.#fd);
  }

  #env(database: string): Record<string, string> {
    return { ...ENVIRONMENT, PGHOST: FOLDER, PGUSER: this.#superuser, PGDATABASE: database };
  }

  async #end(how: "stop" | "kill"): Promise<void> {
    try {
      if (how === "stop") void this.#child.stdin.write("stop\n");
      await this.#child.stdin.end();
    } catch {
      // It was gone already.
    }
    await this.#child.exited;
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout)
      this.#log = (this.#log + decoder.decode(chunk, { stream: true })).slice(-MAX_LOG);
  }
}

const ENVIRONMENT = { PATH: "/usr/bin:/bin", LC_ALL: "C", PGAPPNAME: "supervisor", PGTZ: "UTC" };

/** Who runs a server on scratch; `undefined`: we ourselves. Throws when we are root and there is nobody else. */
export function scratchUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const user = OTHER_USERS.map((name) => lookupUser(name)).find((each) => each !== undefined);
  if (user === undefined)
    throw new NotJudgedError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it");
  return user;
}

export function giveAway(folder: string, user: User | undefined): void {
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
}

/** The last lines in which the server complains. */
function faultOf(log: string): string {
  const faults = log.split("\n").filter((line) => /\b(FATAL|PANIC|ERROR):/.test(line));
  return lastLines((faults.length > 0 ? faults.join("\n") : log).replaceAll(/^.*?(?=(?:FATAL|PANIC|ERROR):)/gm, ""));
}
