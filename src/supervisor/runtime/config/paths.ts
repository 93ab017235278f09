/** Folders and sockets of the supervisor: where they are by default, and whether the kernel takes their names. */
import { dirname, join, resolve } from "node:path";
import type { Environment } from "./substitute.ts";

/** Absolute folders of one supervisor. */
export interface Dirs {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly logDir: string;
}

/** Longest path of a unix socket, bytes: sun_path of unix(7) holds 108 with the closing NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** The config's folders, else those that systemd hands over, else folders beside the config `file`. */
export function resolveDirs(
  given: Partial<Record<keyof Dirs, string | undefined>>,
  file: string,
  env: Environment,
): Dirs {
  const folder = dirname(file);
  const pick = (own: string | undefined, variable: string, fallback: string): string =>
    resolve(folder, own ?? firstOf(env[variable]) ?? fallback);
  const stateDir = pick(given.stateDir, "STATE_DIRECTORY", ".supervisor");
  return {
    stateDir,
    runtimeDir: pick(given.runtimeDir, "RUNTIME_DIRECTORY", join(stateDir, "run")),
    logDir: pick(given.logDir, "LOGS_DIRECTORY", join(stateDir, "log")),
  };
}

/** The folders of a parsed config that may be wrong elsewhere. */
export function dirsOf(root: unknown, file: string, env: Environment): Dirs {
  const text = (key: string): string | undefined => {
    const value: unknown = typeof root === "object" && root !== null ? Reflect.get(root, key) : undefined;
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  return resolveDirs({ stateDir: text("stateDir"), runtimeDir: text("runtimeDir"), logDir: text("logDir") }, file, env);
}

/** The control socket of a supervisor. */
export function controlSocketPath(runtimeDir: string): string {
  return join(runtimeDir, "control.sock");
}

/** The notify socket of one bot. */
function notifySocketPath(runtimeDir: string, bot: string): string {
  return join(runtimeDir, "bots", `${bot}.notify`);
}

/** What is wrong with the longest socket path of these bots; `undefined` when the kernel takes them all. */
export function socketPathError(runtimeDir: string, bots: readonly string[]): string | undefined {
  const paths = [controlSocketPath(runtimeDir), ...bots.map((bot) => notifySocketPath(runtimeDir, bot))];
  const [longest = ""] = paths.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  const bytes = sizeOf(longest);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return undefined;
  return (
    `the socket path ${longest} has ${bytes} bytes and may have ${MAX_SOCKET_PATH_BYTES}; ` +
    `set runtimeDir to a shorter folder, for example /run/tradingbot`
  );
}

/** systemd joins several folders by colons; the first is ours. */
function firstOf(list: string | undefined): string | undefined {
  const first = list?.split(":")[0];
  return first === "" ? undefined : first;
}

function sizeOf(path: string): number {
  return new TextEncoder().encode(path).length;
}
