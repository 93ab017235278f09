/** Finds what a command would start, before it is started, so that a mistake is named and not only counted as a crash (execve(2), execvp(3)). */
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync, type Stats } from "node:fs";
import { delimiter, resolve } from "node:path";
import type { User } from "./user.ts";

export interface ProgramRequest {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: User;
}

export type Program =
  | { readonly kind: "found"; readonly path: string }
  | { readonly kind: "missing"; readonly reason: string };

/** Searched when the environment has no PATH (execvp(3)). */
const DEFAULT_PATH = "/bin:/usr/bin";
/** The kernel looks at this much of a file for its format and interpreter (BINPRM_BUF_SIZE). */
const HEAD_BYTES = 256;

/** Absolute path of the program, searched in the PATH of the given environment; or why it can never be started. */
export function findProgram({ command, cwd, env, user }: ProgramRequest): Program {
  const name = command[0] ?? "";
  if (name === "") return missing("cannot start the bot: the command is empty");
  const folder = lookAt(cwd).kind;
  if (folder !== "folder") {
    const why = folder === "nothing" ? "does not exist" : folder === "file" ? "is not a folder" : "cannot be read";
    return missing(`cannot start ${name}: working folder ${cwd} ${why}`);
  }
  if (name.includes("/")) {
    const path = resolve(cwd, name);
    return judge(name, path, lookAt(path), user);
  }
  const searched = env["PATH"] ?? DEFAULT_PATH;
  let denied: string | undefined;
  const earlier: string[] = [];
  for (const place of searched.split(delimiter)) {
    const path = resolve(cwd, place, name);
    // Most places do not have it, and this says so at a third of the price.
    if (!existsSync(path)) {
      earlier.push(path);
      continue;
    }
    const found = lookAt(path);
    if (found.kind === "file" && executable(path, user)) {
      const judged = judge(name, path, found, user);
      if (judged.kind === "found") rememberFound(keyOf(name, cwd, searched), path, earlier);
      return judged;
    }
    // It is there, so that a search is needed each time.
    earlier.push(path);
    if (found.kind === "file") denied ??= path;
  }
  if (denied !== undefined) return missing(`cannot start "${name}": permission denied for ${denied}`);
  return missing(`cannot start "${name}": not found in PATH (${searched})`);
}

/** Where commands were found last, by what they were searched by; a bot has one, and each is some hundred bytes. */
const lastFound = new Map<string, { readonly path: string; readonly earlier: readonly string[] }>();
const MAX_FOUND = 1_000;

/**
 * Where the program is started from without a look at it, as execve(2) itself says whether it can be: at the path that the
 * command names, or at the place of PATH where it was found last, if no earlier place has got one since. `undefined`: it is to
 * be searched.
 */
export function presumeProgram({ command, cwd, env }: ProgramRequest): string | undefined {
  const [name = ""] = command;
  if (name.includes("/")) return resolve(cwd, name);
  const found = lastFound.get(keyOf(name, cwd, env["PATH"] ?? DEFAULT_PATH));
  return found === undefined || found.earlier.some((path) => existsSync(path)) ? undefined : found.path;
}

function keyOf(name: string, cwd: string, searched: string): string {
  return `${name}\0${cwd}\0${searched}`;
}

function rememberFound(key: string, path: string, earlier: readonly string[]): void {
  if (lastFound.size >= MAX_FOUND) lastFound.clear();
  lastFound.set(key, { path, earlier });
}

function judge(name: string, path: string, { kind, stat }: Found, user: User | undefined): Program {
  if (kind === "nothing") return missing(`cannot start ${name}: no such file`);
  if (kind === "folder") return missing(`cannot start ${name}: it is a folder`);
  if (kind === "denied" || !executable(path, user)) return missing(`cannot start ${name}: permission denied`);
  const interpreter = interpreterOf(path, stat);
  if (interpreter !== undefined && lookAt(interpreter).kind === "nothing") {
    return missing(`cannot start ${name}: its interpreter ${interpreter} does not exist`);
  }
  return { kind: "found", path };
}

interface Found {
  readonly kind: "file" | "folder" | "nothing" | "denied";
  readonly stat?: Stats;
}

function lookAt(path: string): Found {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return { kind: "nothing" };
    return { kind: stat.isDirectory() ? "folder" : "file", stat };
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    return { kind: code === "ENOENT" || code === "ENOTDIR" ? "nothing" : "denied" };
  }
}

/** Whether the bits of the file let the user run it. Folders on the way, ACLs and mount options are left to the start itself. */
function executable(path: string, user: User | undefined): boolean {
  try {
    if (user === undefined) accessSync(path, constants.X_OK);
    if (user === undefined) return true;
    const { mode, uid } = statSync(path);
    // Supplementary groups are not known here: the group bit is believed, and a refusal then ends the child with code 126.
    const mine = user.uid === 0 ? 0o111 : user.uid === uid ? 0o100 : 0o011;
    return (mode & mine) !== 0;
  } catch {
    return false;
  }
}

/** The interpreter of the last program that was looked at, and which version of which file that was. */
let lastHead: { readonly version: string; readonly interpreter: string | undefined } | undefined;

/** What the first line of a script names; read anew only when the file is another one than last time, or was changed. */
function interpreterOf(path: string, stat: Stats | undefined): string | undefined {
  const version = `${path} ${stat?.dev} ${stat?.ino} ${stat?.size} ${stat?.mtimeMs} ${stat?.ctimeMs}`;
  if (lastHead?.version !== version)
    lastHead = { version, interpreter: /^#![ \t]*([^ \t\n]+)/.exec(readHead(path))?.[1] };
  return lastHead.interpreter;
}

function readHead(path: string): string {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      return head.toString("latin1", 0, readSync(fd, head, 0, HEAD_BYTES, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return ""; // A program that may be run and not read.
  }
}

function missing(reason: string): Program {
  return { kind: "missing", reason };
}
