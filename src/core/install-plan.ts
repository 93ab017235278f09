/** What `supervisor install` writes where, and what it does with what is there: decided from a look at the machine, done by the shell. */
import { configIn, dropInText, programIn, type Digest, type InstallSettings } from "./install-drop-in.ts";

export const UNITS_FOLDER = "/etc/systemd/system";
export const LOGROTATE_FILE = "/etc/logrotate.d/tradingbot";
export const DAEMON_UNIT = "tradingbot.service";
export const BACKUP_UNIT = "tradingbot-backup.service";
export const BACKUP_TIMER = "tradingbot-backup.timer";
/** Folders of the unit; the starter config names them. */
export const STATE_FOLDER = "/var/lib/tradingbot";
export const RUNTIME_FOLDER = "/run/tradingbot";
export const LOG_FOLDER = "/var/log/tradingbot";

/** The drop-in of an install for one of its units. */
export function dropInPath(unit: string): string {
  return `${UNITS_FOLDER}/${unit}.d/10-install.conf`;
}

/** The texts that the program carries. */
export interface Shipped {
  readonly service: string;
  readonly backupService: string;
  readonly backupTimer: string;
  readonly unprivileged: string;
  readonly logrotate: string;
  readonly starter: string;
}

/** Names, as the user may not exist yet. */
interface Owner {
  readonly user: string;
  readonly group: string;
}

interface WantedFolder {
  readonly kind: "folder";
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner;
}

interface WantedFile {
  readonly kind: "file";
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner;
  readonly content: { readonly text: string } | "program";
  /** What becomes of another file that is there. A kept one belongs to the user. */
  readonly other: "replace" | "keep";
}

export type Wanted = WantedFolder | WantedFile;

/** What lies at a path. `fits`: content, mode and owner are as wanted. `odd`: nothing that a file may take the place of. */
export type Seen =
  | { readonly kind: "absent" }
  | { readonly kind: "there"; readonly fits: boolean }
  | { readonly kind: "odd"; readonly what: string };

type Action = "create" | "replace" | "same" | "keep";

export interface Step {
  readonly kind: "user" | "folder" | "file";
  /** Path, or the name of the user. */
  readonly path: string;
  /** As chmod(1) takes it; `null` for a user and what is kept. */
  readonly mode: string | null;
  /** USER:GROUP; `null` as `mode`. */
  readonly owner: string | null;
  readonly action: Action;
}

export interface Order {
  readonly settings: InstallSettings;
  /** Name or number of the group of `settings.user`. */
  readonly group: string | undefined;
  /** The config to install; `undefined`: the starter, where there is none. */
  readonly config: { readonly text: string; readonly mode: number } | undefined;
  /** Units whose drop-in a person has changed or made: it stays. */
  readonly keptDropIns: ReadonlySet<string>;
}

const ROOT: Owner = { user: "root", group: "root" };
const EXECUTABLE = 0o755;
const READABLE = 0o644;
/** As StateDirectoryMode= and RuntimeDirectoryMode= of the unit. */
const PASSABLE = 0o711;

/** Everything that an install leaves behind, in the order in which it is written: what is named comes before what names it. */
export function wantedOf(order: Order, shipped: Shipped, digest: Digest): readonly Wanted[] {
  const { user, dir } = order.settings;
  const daemon: Owner = user === undefined ? ROOT : { user, group: order.group ?? user };
  const wanted: readonly Wanted[] = [
    folder(STATE_FOLDER, PASSABLE, daemon),
    folder(RUNTIME_FOLDER, PASSABLE, daemon),
    folder(LOG_FOLDER, EXECUTABLE, daemon),
    { kind: "file", path: programIn(dir), mode: EXECUTABLE, owner: ROOT, content: "program", other: "replace" },
    configFile(configIn(dir), order, shipped, daemon),
    ...unitFiles(order, shipped, digest),
    text(LOGROTATE_FILE, shipped.logrotate),
  ];
  return wanted
    .flatMap((each) => [...foldersAbove(each.path).map((path) => folder(path, EXECUTABLE)), each])
    .filter((each, at, all) => all.findIndex(({ path }) => path === each.path) === at);
}

/** All folders on the way to `path`, topmost first, without the root. */
function foldersAbove(path: string): readonly string[] {
  const above = folderOf(path);
  return above === "/" ? [] : [...foldersAbove(above), above];
}

/** A config that others may not read is read by the daemon's group. */
function configFile(path: string, { config }: Order, shipped: Shipped, daemon: Owner): WantedFile {
  const secret = config !== undefined && (config.mode & 0o004) === 0;
  return {
    kind: "file",
    path,
    mode: secret ? 0o640 : READABLE,
    owner: secret ? { user: "root", group: daemon.group } : ROOT,
    content: { text: config?.text ?? shipped.starter },
    other: "keep",
  };
}

function unitFiles(order: Order, shipped: Shipped, digest: Digest): readonly Wanted[] {
  const { settings, group, keptDropIns } = order;
  const units = [
    [DAEMON_UNIT, shipped.service],
    [BACKUP_UNIT, shipped.backupService],
  ] as const;
  return [
    // Before the units: one that is started just now must not run as another user.
    ...units.flatMap(([name, unit]) => {
      const content = dropInText({ settings, group, unit, unprivileged: shipped.unprivileged }, digest);
      const path = dropInPath(name);
      return content === undefined || keptDropIns.has(name) ? [] : [text(path, content)];
    }),
    ...units.map(([name, unit]) => text(`${UNITS_FOLDER}/${name}`, unit)),
    text(`${UNITS_FOLDER}/${BACKUP_TIMER}`, shipped.backupTimer),
  ];
}

function folder(path: string, mode: number, owner: Owner = ROOT): WantedFolder {
  return { kind: "folder", path, mode, owner };
}

function text(path: string, content: string): WantedFile {
  return { kind: "file", path, mode: READABLE, owner: ROOT, content: { text: content }, other: "replace" };
}

export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** What is to be done; a folder that is there is not spoken of. Whatever `odd` is seen must have been refused before. */
export function planInstall(
  wanted: readonly Wanted[],
  look: (wanted: Wanted) => Seen,
  user: { readonly name: string; readonly exists: boolean } | undefined,
): readonly Step[] {
  const all = wanted.map((each): Step => stepOf(each, look(each)));
  const steps = all.filter(({ kind, action }) => kind !== "folder" || action === "create");
  if (user === undefined) return steps;
  return [
    { kind: "user", path: user.name, mode: null, owner: null, action: user.exists ? "keep" : "create" },
    ...steps,
  ];
}

function stepOf(wanted: Wanted, seen: Seen): Step {
  const action = actionOf(wanted, seen);
  const { kind, path, owner } = wanted;
  if (action === "keep") return { kind, path, mode: null, owner: null, action };
  return { kind, path, mode: modeText(wanted.mode), owner: `${owner.user}:${owner.group}`, action };
}

function actionOf(wanted: Wanted, seen: Seen): Action {
  if (seen.kind === "absent") return "create";
  if (wanted.kind === "folder") return "keep";
  return seen.kind === "there" && seen.fits ? "same" : wanted.other;
}

function modeText(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** Whether carrying the steps out changes anything. */
export function changesAnything(steps: readonly Step[]): boolean {
  return steps.some(({ action }) => action === "create" || action === "replace");
}

/** A step as people read it. */
export function stepLine({ kind, path, mode, owner, action }: Step): string {
  const more = mode === null ? "" : ` (${mode} ${owner})`;
  return `${action.padEnd(7)} ${kind.padEnd(6)} ${path}${more}`;
}

/** Why nothing is done. `usage`: the command line or a config is wrong. */
export interface Problem {
  readonly where: string;
  readonly why: string;
  readonly fix: string;
  readonly usage?: true;
}

export function problemLine({ where, why, fix }: Problem): string {
  return `  ${where}: ${why}; do: ${fix}`;
}

/** Why `name` is no user of an install; `undefined`: it may be one. The names that useradd(8) takes. */
export function userProblem(name: string): Problem | undefined {
  const where = `--user ${name}`;
  if (name === "root") return { where, why: "without --user it is root", fix: "leave --user out", usage: true };
  if (/^[a-z_][a-z0-9_-]{0,31}$/.test(name)) return undefined;
  const fix = "name one of lower-case letters, digits, - and _, as --user tradingbot";
  return { where, why: "that is no name of a user", fix, usage: true };
}

/** Why `dir`, an absolute path, is no folder of an install. Its name goes into unit files, where others have a meaning. */
export function dirProblem(dir: string): Problem | undefined {
  const where = `--dir ${dir}`;
  if (dir === "/" || /^\/(dev|proc|run|sys|tmp|var\/run|var\/tmp)(\/|$)/.test(dir))
    return {
      where,
      why: "what lies there does not last",
      fix: "name another folder, as --dir /opt/tradingbot",
      usage: true,
    };
  if (/^(\/[\w.@+-]+)+$/.test(dir)) return undefined;
  const fix = "name a folder of letters, digits, and . _ @ + -, as --dir /opt/tradingbot";
  return { where, why: "a unit file does not take that name as it stands", fix, usage: true };
}
