/**
 * What a state folder holds of bots, whatever the config says now: a bot that was renamed or taken out of the config may
 * still be alive, or locked, and its account is the same account.
 */
import { readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readIdentity, type Identity, type IdentityReading } from "../../core/identity.ts";
import { gravestLockout, type Lockout } from "../../core/lockout.ts";
import { cgroupPids } from "../../platform/cgroup.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { bootId, readEnviron, readProc, readStat, type ProcessId } from "../../platform/proc.ts";
import { isForeignNamespace } from "../../platform/pid-namespace.ts";
import { isListenedOn, listenerAt } from "../../platform/unix-listeners.ts";
import { Census } from "../../platform/census.ts";
import type { TreeMarks } from "../../platform/tree.ts";
import { lookupUser } from "../../platform/user.ts";
import { accountMark, fenceMarks, filesOf, type BotFiles, type BotPlan } from "./bot-plan.ts";
import type { Dirs } from "./config/load.ts";
import { lockoutSlot, readLockoutFile } from "./lockout-file.ts";

/** Largest identity file read, bytes. */
const MAX_IDENTITY_BYTES = 64 * 1024;

/** What is left of one bot of an earlier config or an earlier daemon. */
export interface Remains {
  readonly name: string;
  readonly files: BotFiles;
  readonly identity: Identity | undefined;
  /** Why there is no `identity`, where there is none. */
  readonly identityReading: IdentityReading;
  readonly lockout: Lockout | undefined;
  /** The lockout's files that exist or may; removed when the lockout ends. */
  readonly lockoutFiles: readonly string[];
}

/** Everything in `<stateDir>/bots`, by name. An absent folder holds nothing; one that cannot be read throws. */
export function surveyBots(dirs: Dirs): readonly Remains[] {
  return botFolders(dirs.stateDir).map((name) => {
    const files = filesOf(name, name, dirs);
    const lockoutFiles = [lockoutSlot(files.dir), files.lockout, files.lockoutSpare];
    const lockout = gravestLockout(lockoutFiles.map(readLockoutFile));
    const identityReading = ownReading(name, readIdentityFile(files.identity));
    const identity = identityReading.kind === "known" ? identityReading.identity : undefined;
    return { name, files, identity, identityReading, lockout, lockoutFiles };
  });
}

/** An identity that was copied from another bot says nothing of this one, whose name its process and its cgroup do not have: that bot would be ended. */
export function ownReading(name: string, reading: IdentityReading): IdentityReading {
  if (reading.kind !== "known") return reading;
  const { pid, cgroup } = reading.identity;
  const other = nameAt(reading.identity);
  if (other !== undefined && other !== name)
    return { kind: "damaged", reason: `it is that of bot ${other}, which lives as pid ${pid}` };
  if (cgroup !== null && isOthersCgroup(name, basename(cgroup)))
    return { kind: "damaged", reason: `it names ${cgroup}, which is another bot's` };
  return reading;
}

/** What the process of the identity calls itself; `undefined` when it is gone, or its environment does not tell. */
function nameAt(identity: Identity): string | undefined {
  const id = processOf(identity);
  try {
    if (id === undefined || readStat(id.pid)?.startTicks !== id.startTicks) return undefined;
  } catch {
    // Unknown is not another.
    return undefined;
  }
  return readEnviron(id.pid)
    ?.find((entry) => entry.startsWith(BOT))
    ?.slice(BOT.length);
}

/** Cgroups of bots are called bot-NAME-… */
function isOthersCgroup(name: string, cgroup: string): boolean {
  return cgroup.startsWith("bot-") && !cgroup.startsWith(`bot-${name}-`);
}

const BOT = "SUPERVISOR_BOT=";

function botFolders(stateDir: string): readonly string[] {
  try {
    return readdirSync(join(stateDir, "bots"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    // Without the folder there is nothing in it; a file in its place is the config check's to complain of.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return [];
    throw new UnreadableFolderError(join(stateDir, "bots"), error);
  }
}

/** The bots of earlier supervisors cannot be told: starting beside them could run one twice. */
class UnreadableFolderError extends Error {
  readonly hint =
    "run it as the user whose folder that is, or as root; or name another stateDir ($STATE_DIRECTORY) for this user";

  constructor(folder: string, cause: unknown) {
    const denied = cause instanceof Error && "code" in cause && (cause.code === "EACCES" || cause.code === "EPERM");
    const why = denied ? "permission denied" : cause instanceof Error ? cause.message : String(cause);
    super(`cannot read the bots of ${folder}: ${why}`, { cause });
  }
}

/** What the identity file says. Never throws. */
export function readIdentityFile(path: string): IdentityReading {
  try {
    return readIdentity(readTextIfExists(path, MAX_IDENTITY_BYTES));
  } catch (error) {
    return { kind: "damaged", reason: error instanceof Error ? error.message : String(error) };
  }
}

/** The account that the remains speak of; `undefined` when nothing readable names one. */
export function accountOf({ identity, lockout }: Remains): string | undefined {
  return identity?.account ?? lockout?.account;
}

/**
 * Remains under other names that concern a bot that is about to start: those of its account, and those whose account
 * nothing readable names, for they may be of this account too. A bot of the config, `configured`, looks after its own.
 */
export function kinOf(
  bot: { readonly name: string; readonly account: string },
  remains: readonly Remains[],
  configured: ReadonlySet<string>,
): readonly Remains[] {
  return remains.filter((each) => {
    const account = accountOf(each);
    return each.name !== bot.name && (account === undefined ? !configured.has(each.name) : account === bot.account);
  });
}

/** By what living processes of an earlier start are recognised: its marks, its main process, and the cgroup it was in. */
export function marksOfRemains(files: BotFiles, identity: Identity | undefined): TreeMarks {
  return {
    environ: fenceMarks(files, identity?.invocationId),
    cgroup: identity?.cgroup ?? undefined,
    root: identity === undefined ? undefined : processOf(identity),
    known: [],
    session: "unwatched",
  };
}

/** By what living processes of all earlier starts are recognised that had the account of a bot which has not begun: its own, and of others. */
export function earlierMarks(
  { files, account }: Pick<BotPlan, "files" | "account">,
  before: Identity | undefined,
  kin: readonly TreeMarks[],
): readonly TreeMarks[] {
  const own = marksOfRemains(files, before);
  return [{ ...own, environ: [...own.environ, accountMark(files, account)] }, ...kin];
}

/**
 * By what the last starts of other bots of the same account are recognised. One that the config still names has starts of
 * another account by now, which must not be taken for them: of it only the very start that the identity names counts.
 */
export function kinMarks(kin: readonly Remains[], configured: ReadonlySet<string>): readonly TreeMarks[] {
  return kin.map(({ name, files, identity }) => {
    const marks = marksOfRemains(files, identity);
    if (!configured.has(name) || identity === undefined) return marks;
    const { cgroup, invocationId } = identity;
    return {
      ...marks,
      environ: [`INVOCATION_ID=${invocationId}`],
      cgroup: cgroup === null ? undefined : join(cgroup, invocationId),
    };
  });
}

/**
 * Lockout files of kin. `inherited` are those of bots that the config no longer names: they are this bot's from now on.
 * `shared` are those of bots that it names under another account now: they lock this bot too, and are not its to remove.
 */
export function inheritedLocks(
  kin: readonly Remains[],
  configured: ReadonlySet<string>,
): { inherited: readonly string[]; shared: readonly string[] } {
  const known = kin.filter((each) => accountOf(each) !== undefined);
  const filesOfBots = (named: boolean): readonly string[] =>
    known.filter(({ name }) => configured.has(name) === named).flatMap(({ lockoutFiles }) => lockoutFiles);
  return { inherited: filesOfBots(false), shared: filesOfBots(true) };
}

/** Whether its account is not proven safe: a close of it is open, or may be. */
export function isUnsafe({ lockout, lockoutFiles }: Remains): boolean {
  if (lockout !== undefined && lockout.outcome !== "flat") return true;
  return lockoutFiles.some((file) => ["damaged", "newer"].includes(readLockoutFile(file).kind));
}

/** A process of a bot's last start that is not ours to adopt or to end. */
export interface Elsewhere {
  readonly pid: number;
  /** Why it cannot be told whether another supervisor runs it; `undefined`: one does. */
  readonly doubt: string | undefined;
}

/**
 * The process of the last start where another supervisor that lives runs it, or may, as when this state folder is a copy of that one's.
 * The bot itself tells which socket it was given.
 */
export function supervisedElsewhere(files: BotFiles, identity: Identity | undefined): Elsewhere | undefined {
  if (identity === undefined) return undefined;
  const environ = readEnviron(identity.pid) ?? [];
  if (!environ.includes(`INVOCATION_ID=${identity.invocationId}`)) return undefined;
  const socket = socketIn(environ);
  if (socket === undefined || isSameSocket(socket, files.socket)) return undefined;
  const listener = listenerAt(socket);
  switch (listener.kind) {
    case "nobody":
      return undefined;
    case "listens":
      return { pid: identity.pid, doubt: undefined };
    case "unknown":
      return { pid: identity.pid, doubt: `cannot tell whether a supervisor listens at ${socket}: ${listener.reason}` };
  }
}

const SOCKET = "SUPERVISOR_SOCKET=";

/** After a reboot no process of the identity can be alive, and its pid is somebody else's; so is a number of another PID namespace here. */
function processOf(identity: Identity): ProcessId | undefined {
  if (identity.bootId !== bootId() || isForeignNamespace(identity.place?.pids)) return undefined;
  return { pid: identity.pid, startTicks: identity.startTimeTicks };
}

/**
 * Living processes of the same bot under another state folder: same name, same working folder, another supervisor's
 * socket, of a user who can have started it, and not what the start that `before` names has left. They are never ours to kill, and never to be doubled or to be closed beside.
 */
export function strangersOf(plan: BotPlan, census: Census = new Census(), before?: Identity): readonly number[] {
  const marked = census.withVariable("SUPERVISOR_BOT");
  const alike = marked.filter(
    (pid) =>
      isStranger(plan, census.environ(pid) ?? "", () => folderOf(pid)) && !isLeftOf(before, census.environ(pid) ?? ""),
  );
  if (alike.length === 0) return [];
  const users = usersOf(plan);
  return alike.filter((pid) => runsAsOneOf(pid, users) || hasSocketOf(plan.name, census.environ(pid) ?? "", users));
}

/**
 * Whether the socket that a process was given is a supervisor's for this bot: where it gave up its rights by itself (setpriv, gosu), its user
 * tells nothing. Nobody else can make such a file in a folder of one of `users`.
 */
function hasSocketOf(name: string, environText: string, users: ReadonlySet<number | undefined>): boolean {
  const socket = socketIn(environText.split("\0"));
  if (socket === undefined) return false;
  try {
    // A link of that name may lead to any socket.
    const path = realpathSync(socket);
    const stat = statSync(path);
    return (
      basename(path) === `${name}.sock` &&
      stat.isSocket() &&
      [stat, statSync(dirname(path))].every(({ uid }) => users.has(uid))
    );
  } catch {
    // It is not there, or no path.
    return false;
  }
}

/**
 * Whether it is of the very start that the bot's own identity names, and nobody listens any more where it was told to speak: the folders
 * were moved since, or the config names others, and its supervisor is dead. It is what the next one finds, as without the move.
 */
function isLeftOf(before: Identity | undefined, environText: string): boolean {
  if (before === undefined || before.bootId !== bootId()) return false;
  if (!`\0${environText}\0`.includes(`\0INVOCATION_ID=${before.invocationId}\0`)) return false;
  const socket = socketIn(environText.split("\0"));
  return socket === undefined || isAbandoned(socket);
}

/** Whether nobody listens at a bot's socket, also not from a folder that was moved away with it. */
export function isAbandoned(socket: string): boolean {
  return listenerAt(socket).kind === "nobody" && !isListenedOn(socket);
}

/** The socket that a process was given by its supervisor; `undefined` when it cannot be read or was given none. */
export function socketOf(pid: number): string | undefined {
  return socketIn(readEnviron(pid) ?? []);
}

function socketIn(environ: readonly string[]): string | undefined {
  return environ.find((entry) => entry.startsWith(SOCKET))?.slice(SOCKET.length);
}

/** Who can have started the bot. Whoever else calls a process so has none of its rights, and could keep an account open by it. */
function usersOf({ config: { user, cwd } }: BotPlan): ReadonlySet<number | undefined> {
  const owner = statSync(cwd, { throwIfNoEntry: false })?.uid;
  return new Set([0, process.getuid?.(), user === undefined ? undefined : lookupUser(user)?.uid, owner]);
}

/** By its real or its effective user; one that cannot be asked for them may be any. */
function runsAsOneOf(pid: number, users: ReadonlySet<number | undefined>): boolean {
  const [, real, effective] = /^Uid:\s*(\d+)\s+(\d+)/m.exec(readProc(`/proc/${pid}/status`) ?? "") ?? [];
  if (real === undefined) return true;
  return users.has(Number(real)) || users.has(Number(effective));
}

/** Whether a process with this environment (`NAME=value`, a NUL before and after each) and working folder is one of `strangersOf`. */
export function isStranger(
  { name, files, config }: Pick<BotPlan, "name" | "files" | "config">,
  environText: string,
  folder: () => string | undefined,
): boolean {
  const environ = `\0${environText}\0`;
  if (!environ.includes(`\0SUPERVISOR_BOT=${name}\0`) || folder() !== config.cwd) return false;
  if (environ.includes(`\0SUPERVISOR_SOCKET=${files.socket}\0`)) return false;
  const socket = socketIn(environText.split("\0"));
  return socket === undefined || !isSameSocket(socket, files.socket);
}

/** Whether two paths of sockets are one, also where their folder is reached by a link. */
export function isSameSocket(one: string, other: string): boolean {
  if (one === other) return true;
  if (basename(one) !== basename(other)) return false;
  try {
    return realpathSync(dirname(one)) === realpathSync(dirname(other));
  } catch {
    // One that is not there is not the other.
    return false;
  }
}

function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // It ended meanwhile, or belongs to somebody whose processes we may not look at.
    return undefined;
  }
}

/**
 * Name of the bot's cgroup. One in which its last start lives keeps the name that it has, which an older release chose otherwise: the
 * limits of that start are looked for by it in hierarchies whose path no identity holds.
 */
export function cgroupNameOf(bot: string, installation: string, before: Identity | undefined): string {
  const own = `bot-${bot}-${installation}`;
  if (before?.cgroup === undefined || before.cgroup === null || before.bootId !== bootId()) return own;
  const name = basename(before.cgroup);
  return name.startsWith(`bot-${bot}-`) && isInhabited(before.cgroup) ? name : own;
}

function isInhabited(cgroup: string): boolean {
  try {
    return cgroupPids(cgroup).length > 0;
  } catch {
    return false;
  }
}
