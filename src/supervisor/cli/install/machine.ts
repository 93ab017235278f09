/** The machine that is installed on, as install and uninstall see it; tests have one whose root is a scratch folder. */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../platform/clock.ts";
import { runCommand } from "../../../platform/command.ts";
import type { Ids } from "../../../platform/install-file.ts";
import { lookupGroup, lookupUser, type User } from "../../../platform/user.ts";
import { ownProgram } from "../../../platform/worker.ts";

export interface Answer {
  /** `null`: not started, killed, or not done in time; the output then says which. */
  readonly code: number | null;
  readonly output: string;
}

export interface Machine {
  /** The path as this process opens it. */
  readonly at: (path: string) => string;
  readonly isRoot: boolean;
  /** The compiled binary that runs; `undefined`: it runs from source. */
  readonly program: string | undefined;
  /** Runs a command of the system, or the installed program by its path there. Never rejects. */
  readonly run: (command: readonly string[], as?: string) => Promise<Answer>;
  readonly user: (name: string) => User | undefined;
  readonly group: (name: string) => number | undefined;
}

/** A selftest takes seconds, with a PostgreSQL server of its own half a minute. */
const COMMAND_MS = 600_000;
const OUTPUT_BYTES = 65_536;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function thisMachine(): Machine {
  const program = ownProgram();
  return {
    at: (path) => path,
    isRoot: process.geteuid?.() === 0,
    program: program.length === 1 ? program[0] : undefined,
    run,
    user: lookupUser,
    group: lookupGroup,
  };
}

async function run(command: readonly string[], as?: string): Promise<Answer> {
  const end = await runCommand({
    command,
    cwd: "/",
    env: { PATH, LC_ALL: "C" },
    ...(as === undefined ? {} : { user: as }),
    timeoutMs: COMMAND_MS,
    clock: systemClock,
    maxOutputBytes: OUTPUT_BYTES,
  });
  if (end.kind === "exited") return { code: end.code, output: end.output };
  const why = end.kind === "failed" ? end.reason : `${command.join(" ")} did not end within ${COMMAND_MS / 1_000} s`;
  return { code: null, output: why };
}

/** Ids of a user and a group by their names; a group may be a number. Throws where the machine does not know one. */
export function idsOf(machine: Machine, owner: { readonly user: string; readonly group: string }): Ids {
  const user = machine.user(owner.user);
  const gid = /^\d+$/.test(owner.group) ? Number(owner.group) : machine.group(owner.group);
  if (user === undefined)
    throw new Error(`cannot find user ${owner.user}: it is neither in /etc/passwd nor known to getent`);
  if (gid === undefined) throw new Error(`cannot find group ${owner.group}: it is not in /etc/group`);
  return { uid: user.uid, gid };
}

/** The user's own group, by its name where it has the user's, else by its number; `undefined`: the user does not exist yet. */
export function groupOf(machine: Machine, name: string): string | undefined {
  const user = machine.user(name);
  if (user === undefined) return undefined;
  return machine.group(name) === user.gid ? name : String(user.gid);
}

/** Runs `deed` as the only install or uninstall; `undefined`: another one is at it. */
export async function alone<T>(machine: Machine, deed: () => Promise<T>): Promise<T | undefined> {
  const { tryLock } = await import("../../../platform/lock.ts");
  const folder = machine.at("/run");
  const lock =
    lstatSync(folder, { throwIfNoEntry: false }) === undefined
      ? "none"
      : tryLock(join(folder, "tradingbot-install.lock"));
  if (lock === undefined) return undefined;
  try {
    return await deed();
  } finally {
    if (lock !== "none") lock.release();
  }
}
