/** What a bot needs on the machine before its first start: its user, its folders, its environment file. */
import { accessSync, chownSync, constants, existsSync, statSync } from "node:fs";
import { GONE, isMainGone, judgeAdoption, judgeUnseen, type Adoption, type Sighting } from "../../core/adoption.ts";
import type { Identity } from "../../core/identity.ts";
import { cgroupPids } from "../../platform/cgroup.ts";
import { bootId, isAlive, readEnviron, readStat } from "../../platform/proc.ts";
import type { Census } from "../../platform/census.ts";
import { ensureDir, readTextIfExists } from "../../platform/files.ts";
import { listLeaderless } from "../../platform/tree.ts";
import { findProgram } from "../../platform/program.ts";
import { lookupUser, type User } from "../../platform/user.ts";
import { EXIT } from "../../core/exit-code.ts";
import { definitionOf, foldersOf, lastingEnvironment, type BotFiles, type BotPlan } from "./bot-plan.ts";
import { MAX_ENV_FILE_BYTES, parseEnvFile } from "./config/env-file.ts";
import { SharedFolders } from "./shared-folders.ts";
import { outlookOn } from "./start-place.ts";
import {
  isAbandoned,
  isSameSocket,
  kinOf,
  marksOfRemains,
  socketOf,
  strangersOf,
  supervisedElsewhere,
  type Remains,
} from "./survey.ts";

/** The user a bot runs as; neither field is the supervisor's own. An unknown name is an error that forbids every start. */
export function lookUp(name: string | undefined): { user: User | undefined; userError: string | undefined } {
  const user = name === undefined ? undefined : lookupUser(name);
  if (name === undefined || user !== undefined) return { user, userError: undefined };
  return { user: undefined, userError: `cannot run a bot as ${name}: this machine has no such user` };
}

/** The same bot lives under another state folder; exit code 2. */
class StrangerError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "stop it there first, or use that supervisor's STATE_DIRECTORY and RUNTIME_DIRECTORY";
}

/** The same bot was left alive by a supervisor that is dead, and the identity here does not name it; exit code 2. */
class AbandonedError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(name: string, pid: number, socket: string) {
    super(
      `cannot supervise ${name}: pid ${pid} is this bot, started by a supervisor that gave it ${socket}, where nobody listens any more`,
    );
    this.hint = `end it (kill ${pid}), or run the supervisor with the stateDir and runtimeDir that it was started with`;
  }
}

/** Throws when the same bot lives under another state folder: it would be doubled, or closed while it trades. */
export function refuseStrangers(plan: BotPlan, before: Identity | undefined, census?: Census): void {
  const pids = strangersOf(plan, census, before);
  for (const pid of pids) {
    const socket = socketOf(pid);
    if (socket !== undefined && isAbandoned(socket)) throw new AbandonedError(plan.name, pid, socket);
  }
  if (pids.length === 0) return;
  throw new StrangerError(`cannot supervise ${plan.name}: ${strangersText(plan, pids)}`);
}

/**
 * Throws when the process of the last start, or of that of the same account under another name, is supervised by another one that lives,
 * as when this state folder is a copy of that one's: it would be adopted, or ended, under its supervisor's hands.
 */
export function refuseSupervised(plan: BotPlan, remains: readonly Remains[], configured: ReadonlySet<string>): void {
  const { name, account, files } = plan;
  const own = remains.find((each) => each.name === name);
  for (const each of [...(own === undefined ? [] : [own]), ...kinOf({ name, account }, remains, configured)]) {
    const elsewhere = supervisedElsewhere(each.files, each.identity);
    if (elsewhere === undefined) continue;
    const { pid, doubt } = elsewhere;
    if (doubt !== undefined)
      throw new StrangerError(
        `cannot supervise ${name}: pid ${pid} is ${each.name}, which another supervisor may run: ${doubt}`,
      );
    const text =
      each === own
        ? strangersText(plan, [pid])
        : `pid ${pid} is ${each.name}, a bot of the same account, started by a supervisor with another state folder than ${files.dir}`;
    throw new StrangerError(`cannot supervise ${name}: ${text}`);
  }
}

/** What a person is told of the same bot under another state folder. */
export function strangersText({ files }: BotPlan, pids: readonly number[]): string {
  return `pid ${pids.join(", ")} is this bot, started by a supervisor with another state folder than ${files.dir}`;
}

/** Somebody has the pid of the bot's last start, and it cannot be told whether it is the bot; exit code 2. */
class DoubtError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(plan: BotPlan, pid: number, reason: string) {
    super(`cannot supervise ${plan.name}: ${reason}; starting it could run it twice`);
    this.hint = `look at it (ps -fp ${pid}); if it is the bot, end it; if it is not, remove ${plan.files.identity}`;
  }
}

/** Something of the bot may live where nobody looks from here; exit code 2. */
class UnseenError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(name: string, of: string, identity: string, reason: string) {
    const whose = of === name ? "" : `${of} is a bot of the same account: `;
    super(`cannot supervise ${name}: ${whose}${reason}; starting it could run it twice`);
    this.hint = `end the container or namespace in which the earlier supervisor ran, or run this one there; once nothing of ${of} lives, remove ${identity}`;
  }
}

/** Of the last start only members of its session may be left, and nothing tells whether they are; exit code 2. */
class LeaderlessError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(name: string, { name: of, files, identity }: LastStart, pids: readonly number[]) {
    const whose = of === name ? "its" : `the account is also that of ${of}, whose`;
    const [list, are] = [pids.join(", "), pids.length === 1 ? "is" : "are"];
    super(
      `cannot supervise ${name}: ${whose} last main process ${identity?.pid} has ended unwatched, and pid ${list}, which ${are} in its session, may be of the bot; starting it could run it twice`,
    );
    this.hint = `look at it (ps -fp ${pids.join(",")}); if it is of the bot, end it (kill ${pids.join(" ")}); if it is not, remove ${files.identity}`;
  }
}

type LastStart = Pick<Remains, "name" | "files" | "identity">;

/** Throws when something that bears no mark may have been left by the start: it is neither to be killed on a guess, nor to be started or closed beside. */
function refuseLeaderless(name: string, start: LastStart, census?: Census): void {
  const left = listLeaderless(marksOfRemains(start.files, start.identity), census);
  if (left.length === 0) return;
  throw new LeaderlessError(
    name,
    start,
    left.map(({ pid }) => pid),
  );
}

/** Throws when it cannot be told whether the process of the last start lives, or that of the same account under another name. */
export function refuseDoubt(
  plan: BotPlan,
  before: Identity | undefined,
  kin: readonly Remains[] = [],
  census?: Census,
): void {
  for (const start of [{ name: plan.name, files: plan.files, identity: before }, ...kin])
    refuseLeaderless(plan.name, start, census);
  for (const { name, files, identity } of kin) {
    const judged = identity === undefined ? undefined : judgeUnseen(identity, outlookOn(identity));
    if (judged?.kind === "doubt") throw new UnseenError(plan.name, name, files.identity, judged.reason);
  }
  if (before === undefined) return;
  const judged = judgeBefore(plan, before);
  if (judged.kind !== "doubt") return;
  if (judged.unseen === true) throw new UnseenError(plan.name, plan.name, plan.files.identity, judged.reason);
  throw new DoubtError(plan, before.pid, judged.reason);
}

/** The identity file is of a newer release; exit code 2. */
class NewerIdentityError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint =
    "run the newer supervisor, which knows the bot's process; or stop the bot, then remove the file to go on with this release";
}

/** Throws when a newer release has written the bot's identity: its process cannot be judged, and the file is not ours to replace. */
export function refuseNewer({ name, files, identityReading }: Remains): void {
  if (identityReading.kind !== "newer") return;
  throw new NewerIdentityError(
    `cannot supervise ${name}: ${files.identity} has format version ${identityReading.version}, which a newer release wrote`,
  );
}

/**
 * What to do with the process of the last start of an earlier supervisor. `orphans` is the config's word, which does not
 * count in an upgrade: there the bot outlives nobody.
 */
export function judgeBefore(plan: BotPlan, before: Identity, orphans = plan.config.orphans): Adoption {
  const unseen = judgeUnseen(before, outlookOn(before));
  if (unseen !== undefined) return unseen;
  const atPid = whoIsAt(before.pid);
  if (isMainGone(before, atPid)) return GONE;
  return judgeAdoption(
    before,
    { ...atPid, ...tracesOf(before) },
    {
      orphans,
      account: plan.account,
      sameUser: runsAs(before.pid, plan.config.user),
      definition: definitionNow(plan),
      sameSockets: isSameSocket(socketOf(before.pid) ?? plan.files.socket, plan.files.socket),
      wasStopping: existsSync(plan.files.noNewOrders),
    },
  );
}

/** Whether the process runs as the user of the config; its own sockets would be closed to it else. */
function runsAs(pid: number, name: string | undefined): boolean {
  const uid = name === undefined ? process.getuid?.() : lookupUser(name)?.uid;
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid === uid;
}

function whoIsAt(pid: number): Pick<Sighting, "bootId" | "startTimeTicks"> {
  const stat = readStat(pid);
  const live = stat !== undefined && isAlive(stat);
  return { bootId: bootId(), startTimeTicks: live ? stat.startTicks : undefined };
}

function tracesOf({ pid, cgroup }: Identity): Pick<Sighting, "invocationId" | "inCgroup"> {
  const mark = readEnviron(pid)?.find((entry) => entry.startsWith("INVOCATION_ID="));
  return {
    invocationId: mark?.slice("INVOCATION_ID=".length),
    inCgroup: cgroup !== null && cgroupPids(cgroup).includes(pid),
  };
}

/** Makes the folders of a bot; those that the bot writes to belong to its user. Throws when one cannot be made. */
export function prepareFolders(files: BotFiles, user: User | undefined): void {
  prepareStart(files, user, new SharedFolders());
  prepareRest(files);
}

/** The same without what `prepareRest` makes: of many bots, none waits for that of another. Whether the bot's own folder is new. */
export function prepareStart(files: BotFiles, user: User | undefined, shared: SharedFolders): boolean {
  let isNew = false;
  for (const { path, mode, of, canWait } of foldersOf(files)) {
    if (of === "all") shared.ensure(path, mode);
    if (of === "all" || canWait === true) continue;
    const made = ensureDir(path, mode);
    if (path === files.dir) isNew = made;
    if (of === "bot" && user !== undefined) chownSync(path, user.uid, user.gid);
  }
  if (user !== undefined && existsSync(files.closes)) chownSync(files.closes, user.uid, user.gid);
  return isNew;
}

/** Makes the folders of a bot that no start needs. Throws when one cannot be made. */
export function prepareRest(files: BotFiles): void {
  for (const { path, mode, canWait } of foldersOf(files)) if (canWait === true) ensureDir(path, mode);
}

const NO_VARIABLES: Readonly<Record<string, string>> = {};

/** An environment file that no waiting repairs: absent, forbidden, or not understood. */
export class EnvFileError extends Error {}

/** The variables of an environment file, read anew at each start. Throws when it cannot be read or understood. */
export function readEnvFile(path: string | undefined): Readonly<Record<string, string>> {
  if (path === undefined) return NO_VARIABLES;
  const { variables, errors } = parseEnvFile(readText(path));
  const first = errors[0];
  if (first !== undefined) throw new EnvFileError(`cannot read envFile ${path}:${first.line}: ${first.message}`);
  return variables;
}

/** The variables of an environment file; `undefined` when it cannot be read or understood now. */
export function envFileNow(path: string | undefined): Readonly<Record<string, string>> | undefined {
  try {
    return readEnvFile(path);
  } catch {
    return undefined;
  }
}

/** Fingerprint of what `plan` would start now; `undefined` when its environment file cannot be read. */
export function definitionNow(plan: BotPlan): string | undefined {
  const fileEnv = envFileNow(plan.config.envFile);
  return fileEnv === undefined ? undefined : definitionOf(plan, fileEnv);
}

/** Why a start of `plan` would not find its program now, in the environment that it would get from `own`; `undefined`: it is there. */
export function missingProgram(plan: BotPlan, own: Readonly<Record<string, string | undefined>>): string | undefined {
  const { command, cwd, user: name, envFile } = plan.config;
  const { user } = lookUp(name);
  const fileEnv = envFileNow(envFile) ?? {};
  const env = lastingEnvironment({ plan, own, fileEnv, home: user?.home });
  const found = findProgram({ command, cwd, env, ...(user === undefined ? {} : { user }) });
  return found.kind === "missing" ? found.reason : undefined;
}

/** The same of all that a start reads: also its environment file. */
export function missingForStart(plan: BotPlan, own: Readonly<Record<string, string | undefined>>): string | undefined {
  try {
    readEnvFile(plan.config.envFile);
  } catch (error) {
    if (error instanceof EnvFileError) return error.message;
    // Want of descriptors or memory passes.
    return undefined;
  }
  return missingProgram(plan, own);
}

function readText(path: string): string {
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EnvFileError(`cannot read envFile ${path}: ${why}`, { cause: error });
  }
  return readTextIfExists(path, MAX_ENV_FILE_BYTES) ?? "";
}
