/** The drop-in by which `supervisor install` changes a shipped unit (systemd.unit(5)): which user, and which folder it runs from. */

/** What an install may choose. */
export interface InstallSettings {
  /** The daemon and all bots run as this user; `undefined`: root. */
  readonly user: string | undefined;
  /** Folder of binary and config, absolute; `undefined`: the usual places. */
  readonly dir: string | undefined;
}

/** Hexadecimal SHA-256 of a text; core computes none itself. */
export type Digest = (text: string) => string;

/** A drop-in that is there. `foreign`: no install wrote it; `changed`: an install did, and a person has changed it since. */
export type DropInReading =
  | { readonly kind: "foreign" }
  | { readonly kind: "ours" | "changed"; readonly settings: InstallSettings };

const PROGRAM = "/usr/local/bin/supervisor";
const CONFIG = "/etc/tradingbot/supervisor.yaml";

export function programIn(dir: string | undefined): string {
  return dir === undefined ? PROGRAM : `${dir}/supervisor`;
}

export function configIn(dir: string | undefined): string {
  return dir === undefined ? CONFIG : `${dir}/supervisor.yaml`;
}

interface DropIn {
  readonly settings: InstallSettings;
  /** Name or number of the user's own group. */
  readonly group: string | undefined;
  /** The shipped unit that it changes. */
  readonly unit: string;
  /** The shipped drop-in for an ordinary user; its first user is replaced. */
  readonly unprivileged: string;
}

/** The text of the drop-in; `undefined` when there is nothing to change. `digest` lets a later run tell whether a person has changed it. */
export function dropInText(wanted: DropIn, digest: Digest): string | undefined {
  const { user, dir } = wanted.settings;
  if (user === undefined && dir === undefined) return undefined;
  const lines = [
    ...(user === undefined ? [] : userLines(wanted, user)),
    ...(dir === undefined ? [] : placeLines(wanted.unit, dir)),
  ];
  const body = ["[Service]", ...lines, ""].join("\n");
  return `${headOf(wanted.settings)}\n${DIGEST}${digest(body)}\n${body}`;
}

const DIGEST = "# sha256 of the lines below: ";

function headOf({ user, dir }: InstallSettings): string {
  const options = `${user === undefined ? "" : ` --user ${user}`}${dir === undefined ? "" : ` --dir ${dir}`}`;
  return `# Written by \`supervisor install${options}\`, which replaces it. Settings of your own go into another file of this folder.`;
}

/** Settings of the shipped drop-in with this user. What only the daemon's unit may do is taken away from it alone. */
function userLines({ unit, unprivileged, group }: DropIn, user: string): readonly string[] {
  const settings = unprivileged.split("\n").filter((line) => /^[A-Za-z]+=/.test(line));
  return settings
    .filter((line) => !line.startsWith("SystemCallFilter=") || unit.includes("@setuid"))
    .map((line) => line.replace(/^User=.*/, () => `User=${user}`).replace(/^Group=.*/, () => `Group=${group ?? user}`));
}

/** Each command of the unit with the other place; an empty line first takes the shipped one away. */
function placeLines(unit: string, dir: string): readonly string[] {
  return unit.split("\n").flatMap((line) => {
    const key = /^(Exec[A-Za-z]+)=/.exec(line)?.[1];
    if (key === undefined) return [];
    return [`${key}=`, line.replace(PROGRAM, () => programIn(dir)).replace(CONFIG, () => configIn(dir))];
  });
}

/** What an existing drop-in says of itself. */
export function readDropIn(text: string, digest: Digest): DropInReading {
  const [head = "", mark = "", ...rest] = text.split("\n");
  const options = /^# Written by `supervisor install(?: --user (\S+))?(?: --dir (\S+))?`,/.exec(head);
  if (options === null) return { kind: "foreign" };
  const settings = { user: options[1], dir: options[2] };
  const whole = head === headOf(settings) && mark === `${DIGEST}${digest(rest.join("\n"))}`;
  return { kind: whole ? "ours" : "changed", settings };
}
