/** The folders that a config names, where the text is plain enough: a command that only looks for the socket needs no YAML parser. */
import { isMap } from "./outline.ts";
import { dirsOf, type Dirs } from "./paths.ts";
import { parsePlain } from "./plain-yaml.ts";
import type { Environment } from "./substitute.ts";

/** `undefined`: the loader must be asked. Never throws. */
export function plainDirs(text: string, file: string, env: Environment): Dirs | undefined {
  const root = parsePlain(text, { references: "kept" });
  if (!isMap(root)) return undefined;
  const named = Object.entries(root).filter(([key]) => key === "stateDir" || key === "runtimeDir" || key === "logDir");
  return named.some(([, value]) => String(value).includes("${")) ? undefined : dirsOf(root, file, env);
}
