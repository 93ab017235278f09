/** Users of the machine by name, and how a child becomes one of them with exactly that user's groups (passwd(5), setpriv(1)). */
import { readProc } from "./proc.ts";

export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Login name: with it the child gets the user's supplementary groups, without it none. */
  readonly name?: string;
  /** Home folder, for HOME. */
  readonly home?: string;
}

/** What a child is started with in order to run as the user. */
export interface UserSwitch {
  /** Goes before the command; it ends in an exec, so the pid stays. */
  readonly prefix: readonly string[];
  readonly spawnOptions: { readonly uid?: number; readonly gid?: number };
}

/** A users' table beyond this is not read; getent(1) answers instead. */
const MAX_PASSWD_BYTES = 4_194_304;
/** Where Linux distributions keep setpriv (util-linux); not searched in PATH, as it runs with our rights. */
const SETPRIV_PATHS = ["/usr/bin/setpriv", "/bin/setpriv"];

/** The user in /etc/passwd, or from getent(1) where users come from elsewhere; a number is taken as an id. `undefined`: no such user. */
export function lookupUser(name: string): User | undefined {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$/.test(name)) return undefined;
  const table = readProc("/etc/passwd", MAX_PASSWD_BYTES) ?? "";
  return parsePasswd(table, name) ?? parsePasswd(askGetent(name), name);
}

/** The entry whose name or id is `wanted`. */
function parsePasswd(table: string, wanted: string): User | undefined {
  for (const line of table.split("\n")) {
    const [name, , uid, gid, , home] = line.split(":");
    if (name === undefined || !/^\d+$/.test(uid ?? "") || !/^\d+$/.test(gid ?? "")) continue;
    if (name === wanted || uid === wanted)
      return { name, uid: Number(uid), gid: Number(gid), ...(home === undefined ? {} : { home }) };
  }
  return undefined;
}

/**
 * How to start a child as `user`. Nothing changes when we already are that user. With setpriv(1) the child has the user's own
 * supplementary groups; where it is missing, or without a name, none at all, and never ours. Throws EPERM when we may not change users.
 */
export function switchUser(user: User | undefined): UserSwitch {
  if (user === undefined || (user.uid === process.getuid?.() && user.gid === process.getgid?.())) {
    return { prefix: [], spawnOptions: {} };
  }
  if (!mayChangeUser()) {
    const message = `becoming user ${user.name ?? user.uid} needs root or the capabilities CAP_SETUID and CAP_SETGID`;
    throw Object.assign(new Error(message), { code: "EPERM" });
  }
  const setpriv = SETPRIV_PATHS.find((path) => readProc(path, 1) !== undefined);
  if (user.name === undefined || setpriv === undefined) {
    // The runtime calls setgroups(0) before it changes ids, so our groups do not leak.
    return { prefix: [], spawnOptions: { uid: user.uid, gid: user.gid } };
  }
  const options = [`--reuid=${user.name}`, `--regid=${user.gid}`, "--init-groups"];
  return { prefix: [setpriv, ...options, "--"], spawnOptions: {} };
}

/** Whether a child becomes `user` before any program that we put before its command runs, which then lacks our rights. */
export function joinsAsItself(user: User | undefined): boolean {
  try {
    return switchUser(user).spawnOptions.uid !== undefined;
  } catch {
    // It cannot be started at all, which its start will say.
    return false;
  }
}

/** Effective capabilities 6 (setgid) and 7 (setuid) of capabilities(7); root normally has all. */
function mayChangeUser(): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readProc("/proc/self/status") ?? "")?.[1];
  return mask !== undefined && (BigInt(`0x${mask}`) & 0xc0n) === 0xc0n;
}

function askGetent(name: string): string {
  try {
    return Bun.spawnSync({ cmd: ["getent", "passwd", "--", name], timeout: 5_000 }).stdout.toString();
  } catch {
    return "";
  }
}

/** Id of a group in /etc/group, or `undefined` when the machine does not know it. */
export function lookupGroup(name: string): number | undefined {
  for (const line of (readProc("/etc/group", MAX_PASSWD_BYTES) ?? "").split("\n")) {
    const [group, , gid] = line.split(":");
    if (/^\d+$/.test(gid ?? "") && (group === name || gid === name)) return Number(gid);
  }
  return undefined;
}
