/** What an install finds before it changes anything: all reasons not to begin, and what is there already. */
import { readdirSync, readFileSync, realpathSync, statSync, type Stats } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { configIn, readDropIn, type DropInReading, type InstallSettings } from "../../../core/install-drop-in.ts";
import {
  BACKUP_UNIT,
  DAEMON_UNIT,
  dirProblem,
  dropInPath,
  planInstall,
  STATE_FOLDER,
  LOG_FOLDER,
  RUNTIME_FOLDER,
  userProblem,
  wantedOf,
  type Order,
  type Problem,
  type Seen,
  type Step,
  type Wanted,
} from "../../../core/install-plan.ts";
import { hasBytes, kindOf, lookAt, type Ids } from "../../../platform/install-file.ts";
import { ConfigError } from "../../runtime/config/issues.ts";
import type { LoadedConfig } from "../../runtime/config/load.ts";
import type { CliIo } from "../verb.ts";
import { groupOf, idsOf, type Machine } from "./machine.ts";
import { digest, shippedFiles } from "./shipped.ts";

export interface Wish {
  readonly user: string | undefined;
  readonly dir: string | undefined;
  /** Config file to install. */
  readonly config: string | undefined;
}

export interface Found {
  readonly problems: readonly Problem[];
  readonly wanted: readonly Wanted[];
  readonly steps: readonly Step[];
  /** What a person should know beside the steps. */
  readonly notes: readonly string[];
  readonly settings: InstallSettings;
}

/** systemd of Debian 12, the oldest that the units are tested with. */
const OLDEST_SYSTEMD = 252;
const ELF = "\u007FELF";

/** Changes nothing. */
export async function lookAround(wish: Wish, machine: Machine, io: CliIo): Promise<Found> {
  const dir = wish.dir === undefined ? undefined : resolve(io.cwd, wish.dir);
  const chosen = choose({ user: wish.user, dir }, machine);
  const { settings } = chosen;
  const order: Order = {
    settings,
    group: settings.user === undefined ? undefined : groupOf(machine, settings.user),
    config: undefined,
    keptDropIns: chosen.kept,
  };
  const given = await givenConfig(wish.config, settings, io);
  const wanted = wantedOf({ ...order, config: given.config }, shippedFiles(configIn(settings.dir)), digest);
  const { user: name, dir: place } = settings;
  const asked = [
    name === undefined ? undefined : userProblem(name),
    place === undefined ? undefined : dirProblem(place),
  ];
  const usage = asked.filter((each) => each !== undefined);
  const problems = [
    ...(await machineProblems(machine)),
    ...usage,
    ...chosen.problems,
    ...given.problems,
    // A name that is refused leads to no place worth a look.
    ...(usage.length > 0 ? [] : await placeProblems(wanted, { settings, machine, given: given.config?.text })),
  ];
  const user = name === undefined ? undefined : { name, exists: machine.user(name) !== undefined };
  const steps = problems.length > 0 ? [] : planInstall(wanted, (each) => see(each, machine), user);
  return { problems, wanted, steps, notes: [...chosen.notes, ...othersDropIns(machine)], settings };
}

/** A drop-in of an install that is there; `undefined`: none. */
export function dropInOf(unit: string, machine: Machine): DropInReading | undefined {
  const path = machine.at(dropInPath(unit));
  return lookAt(path)?.isFile() === true ? readDropIn(readFileSync(path, "utf8"), digest) : undefined;
}

interface Chosen {
  readonly settings: InstallSettings;
  readonly kept: ReadonlySet<string>;
  readonly notes: readonly string[];
  readonly problems: readonly Problem[];
}

/** An option that is not given stays as an earlier install had it. */
function choose(wish: InstallSettings, machine: Machine): Chosen {
  const readings = [DAEMON_UNIT, BACKUP_UNIT].map((unit) => ({ unit, reading: dropInOf(unit, machine) }));
  const earlier = readings.map(({ reading }) =>
    reading === undefined || reading.kind === "foreign" ? undefined : reading.settings,
  );
  const before = earlier[0] ?? earlier[1];
  const settings = { user: wish.user ?? before?.user, dir: wish.dir ?? before?.dir };
  const kept = readings.filter(({ reading }) => reading !== undefined && reading.kind !== "ours");
  const asks =
    wish.user !== before?.user && wish.user !== undefined ? true : wish.dir !== undefined && wish.dir !== before?.dir;
  const stay = [
    wish.user === undefined && before?.user !== undefined ? [`--user ${before.user}`] : [],
    wish.dir === undefined && before?.dir !== undefined ? [`--dir ${before.dir}`] : [],
  ].flat();
  return {
    settings,
    kept: new Set(kept.map(({ unit }) => unit)),
    notes: [
      ...stay.map((option) => `${option} of the earlier install stays`),
      ...kept.map(({ unit }) => `${dropInPath(unit)} was changed or written by a person, and stays as it is`),
    ],
    problems: asks
      ? kept.map(({ unit }) => ({
          where: dropInPath(unit),
          why: "a person has changed or written it, and these options would replace it",
          fix: "move the settings into another file of that folder, remove this one, and install again",
        }))
      : [],
  };
}

async function machineProblems(machine: Machine): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  if (!machine.isRoot)
    problems.push({ where: "this user", why: "only root may write to /etc and /usr/local", fix: "run it with sudo" });
  if (machine.program === undefined)
    problems.push({
      where: "this program",
      why: "it runs from source, and only the compiled binary can be installed",
      fix: "bun run build, then dist/supervisor install",
    });
  if (lookAt(machine.at("/run/systemd/system")) === undefined)
    return [
      ...problems,
      {
        where: "systemd",
        why: "this machine was not booted by it",
        fix: "let something else keep supervisor run alive: docs/running.md",
      },
    ];
  const { output } = await machine.run(["systemctl", "--version"]);
  const version = /^systemd (\d+)/.exec(output)?.[1];
  if (version === undefined || Number(version) < OLDEST_SYSTEMD) {
    const why =
      version === undefined
        ? "systemctl does not tell its version"
        : `version ${version} is older than ${OLDEST_SYSTEMD}`;
    problems.push({ where: "systemd", why, fix: `update to Debian 12, or whatever has systemd ${OLDEST_SYSTEMD}` });
  }
  return problems;
}

interface Given {
  readonly config: Order["config"];
  readonly problems: readonly Problem[];
}

/** The file of --config, judged as `config check` does. */
async function givenConfig(name: string | undefined, settings: InstallSettings, io: CliIo): Promise<Given> {
  if (name === undefined) return { config: undefined, problems: [] };
  const { loadConfig } = await import("../../runtime/config/load.ts");
  const { checkEnvironment } = await import("../../runtime/config/environment.ts");
  const { readSource } = await import("../../runtime/config/read.ts");
  const where = `--config ${name}`;
  try {
    const loaded = loadConfig({ file: name, env: io.env, cwd: io.cwd });
    checkEnvironment(loaded);
    const { root } = readSource({ file: name, env: io.env, cwd: io.cwd }).source;
    const config = { text: readFileSync(loaded.file, "utf8"), mode: statSync(loaded.file).mode };
    return { config, problems: [...unnamed(root, where), ...unfit(loaded, settings, where)] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const fix = `mend it; this says the same: supervisor config check --config ${name}`;
    return {
      config: undefined,
      problems: [{ where, why: error.message.replaceAll("\n", "\n    "), fix, usage: true }],
    };
  }
}

/** Right for a `supervisor run` in a shell, and not for the units. */
function unnamed(root: unknown, where: string): readonly Problem[] {
  const folders = Object.entries({ stateDir: STATE_FOLDER, runtimeDir: RUNTIME_FOLDER, logDir: LOG_FOLDER });
  const missing = folders.filter(
    ([key]) => typeof root === "object" && root !== null && Reflect.get(root, key) === undefined,
  );
  if (missing.length === 0) return [];
  const keys = missing.map(([key]) => key);
  const why = `it does not name ${keys.join(", ")}: the daemon would have the unit's, and commands typed in a shell would look elsewhere`;
  const fix = `add ${missing.map(([key, folder]) => `${key}: ${folder}`).join(", ")}`;
  return [{ where, why, fix, usage: true }];
}

/** Bots that a daemon of an ordinary user cannot start. */
function unfit({ config }: LoadedConfig, { user }: InstallSettings, where: string): readonly Problem[] {
  return Object.entries(config.bots).flatMap(([name, bot]): readonly Problem[] => {
    if (user === undefined || bot.user === undefined || bot.user === user) return [];
    const why = `bots.${name}.user is ${bot.user}, and a daemon that runs as ${user} cannot become that one`;
    return [{ where, why, fix: "leave --user out, or take the bot's user out", usage: true }];
  });
}

interface Place {
  readonly settings: InstallSettings;
  readonly machine: Machine;
  /** Text of the config to install. */
  readonly given: string | undefined;
}

async function placeProblems(wanted: readonly Wanted[], place: Place): Promise<readonly Problem[]> {
  const { machine, settings } = place;
  return [
    ...wanted.flatMap((each) => inTheWay(each, place)),
    ...(settings.dir === undefined ? [] : changeable(settings.dir, settings.user, machine)),
    ...(settings.user === undefined ? [] : othersFolders(settings.user, machine)),
    ...(await packaged(wanted, machine)),
  ];
}

function inTheWay(wanted: Wanted, { machine, settings, given }: Place): readonly Problem[] {
  const { path } = wanted;
  const seen = see(wanted, machine);
  if (seen.kind === "odd") {
    const masked =
      seen.what === "a symbolic link" && path.endsWith(".service")
        ? "systemctl unmask it where it is masked; else "
        : "";
    return [{ where: path, why: `${seen.what} is in the way`, fix: `look at it, and ${masked}move it away` }];
  }
  if (seen.kind === "absent" || seen.fits || wanted.kind === "folder") return [];
  if (path === configIn(settings.dir) && given !== undefined && !hasBytes(machine.at(path), { text: given }))
    return [
      {
        where: path,
        why: "another config is there, and is never replaced",
        fix: "leave --config out to keep it, or change it by hand and supervisor reload",
      },
    ];
  if (wanted.content === "program" && readFileSync(machine.at(path)).subarray(0, ELF.length).toString("latin1") !== ELF)
    return [
      {
        where: path,
        why: "another program of that name is there",
        fix: "move it away, or name another folder with --dir",
      },
    ];
  return [];
}

/** What lies where `wanted` belongs. */
function see(wanted: Wanted, machine: Machine): Seen {
  const path = machine.at(wanted.path);
  const stats = wanted.kind === "folder" ? throughLinks(path) : lookAt(path);
  if (stats === undefined) return { kind: "absent" };
  if (wanted.kind === "folder")
    return stats.isDirectory() ? { kind: "there", fits: true } : { kind: "odd", what: kindOf(stats) };
  if (!stats.isFile()) return { kind: "odd", what: kindOf(stats) };
  const source = wanted.content === "program" ? { copyOf: machine.program ?? path } : wanted.content;
  return { kind: "there", fits: isOwned(stats, wanted, machine) && hasBytes(path, source) };
}

/** A dangling link to a folder is in the way as well. */
function throughLinks(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false }) ?? lookAt(path);
}

function isOwned(stats: Stats, { mode, owner }: Wanted, machine: Machine): boolean {
  let ids: Ids;
  try {
    ids = idsOf(machine, owner);
  } catch {
    // The user is yet to be made.
    return false;
  }
  return stats.uid === ids.uid && stats.gid === ids.gid && (stats.mode & 0o7777) === mode;
}

/** A binary that root starts, or a folder above it, must not be another's to change; with --user it may be that user's. */
function changeable(dir: string, user: string | undefined, machine: Machine): readonly Problem[] {
  const trusted = new Set([
    idsOf(machine, { user: "root", group: "0" }).uid,
    ...(user === undefined ? [] : [machine.user(user)?.uid]),
  ]);
  const found: Problem[] = [];
  for (let path = dir; path !== "/"; path = dirname(path)) {
    const stats = throughLinks(machine.at(path));
    if (stats === undefined || !stats.isDirectory()) continue;
    const whose = (stats.mode & 0o002) === 0 ? `user ${stats.uid} owns it` : "others may write to it";
    if (trusted.has(stats.uid) && (stats.mode & 0o002) === 0) continue;
    const why = `${whose}, and could replace the program that ${user ?? "root"} starts`;
    found.push({
      where: `--dir ${dir}: ${path}`,
      why,
      fix: "name a folder of root's, as --dir /opt/tradingbot, or give that user with --user",
      usage: true,
    });
  }
  return found.length > 0 ? found : unmade(dir, machine);
}

/** Whoever may change a folder may swap what root makes in it for a link: below one that is not root's alone, root makes none. */
function unmade(dir: string, machine: Machine): readonly Problem[] {
  if (throughLinks(machine.at(dir)) !== undefined) return [];
  const root = idsOf(machine, { user: "root", group: "0" });
  for (let path = dirname(dir); path !== "/"; path = dirname(path)) {
    const stats = throughLinks(machine.at(path));
    if (stats === undefined) continue;
    const others = (stats.mode & 0o020) !== 0 && stats.gid !== root.gid;
    if (stats.uid === root.uid && !others) continue;
    const whose = others ? `group ${stats.gid} may write to it` : `user ${stats.uid} owns it`;
    const self = others ? `chmod g-w ${path}` : `let that user make ${dir} first (mkdir -p)`;
    return [
      {
        where: `--dir ${dir}: ${path}`,
        why: `${whose}, and root makes no folder below it`,
        fix: `${self}, or name a folder below one of root's alone, as --dir /opt/tradingbot`,
        usage: true,
      },
    ];
  }
  return [];
}

/** systemd hands folders over when the unit starts, but what is tested before would be refused. */
function othersFolders(user: string, machine: Machine): readonly Problem[] {
  const uid = machine.user(user)?.uid;
  const folders = [STATE_FOLDER, RUNTIME_FOLDER, LOG_FOLDER].flatMap((path) => {
    const owner = throughLinks(machine.at(path))?.uid;
    return owner === undefined || owner === uid ? [] : [{ path, owner }];
  });
  if (folders.length === 0) return [];
  const paths = folders.map(({ path }) => path).join(" ");
  const make =
    uid === undefined
      ? `useradd --system --user-group --home-dir ${STATE_FOLDER} --shell /usr/sbin/nologin ${user}, `
      : "";
  return [
    {
      where: paths,
      why: `the daemon is to run as ${user}, and they belong to user ${[...new Set(folders.map(({ owner }) => owner))].join(", ")}`,
      fix: `systemctl stop tradingbot, ${make}chown -R ${user}: ${paths}, and install again`,
    },
  ];
}

/** Drop-ins of a person, in the units' folders beside those of an install. */
function othersDropIns(machine: Machine): readonly string[] {
  return [DAEMON_UNIT, BACKUP_UNIT].flatMap((unit) => {
    const own = dropInPath(unit);
    const folder = machine.at(dirname(own));
    if (lookAt(folder)?.isDirectory() !== true) return [];
    const names = readdirSync(folder).filter((name) => name.endsWith(".conf") && name !== basename(own));
    return names.map((name) => `${join(dirname(own), name)} stays in force`);
  });
}

/** Files that a package owns are its to change: Debian has one called supervisor. */
async function packaged(wanted: readonly Wanted[], machine: Machine): Promise<readonly Problem[]> {
  const paths = wanted.filter(({ kind }) => kind === "file").map(({ path }) => path);
  const { output } = await machine.run([
    "dpkg-query",
    "--search",
    ...paths,
    ...paths.map((path) => realFolder(path, machine)),
  ]);
  return output.split("\n").flatMap((line) => {
    const [, name, path = ""] = /^([^:\s]+)(?::\w+)?: (\/\S+)$/.exec(line) ?? [];
    if (name === undefined || !(paths.includes(path) || name === "supervisor")) return [];
    return [
      {
        where: path,
        why: `it belongs to the package ${name}`,
        fix: `remove that package (apt remove ${name}), or name another folder with --dir`,
      },
    ];
  });
}

function realFolder(path: string, machine: Machine): string {
  const folder = dirname(path);
  try {
    return machine.at("/") === "/" ? realpathSync(folder) : folder;
  } catch {
    return folder;
  }
}
