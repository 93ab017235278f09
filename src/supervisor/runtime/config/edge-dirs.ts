/**
 * The folders that a config names at its left edge, found without reading what stands between: in a text of such lines a key there
 * is one of the file's own, or the file is not YAML at all, as whatever spans lines inside a value has to be indented.
 */
import type { Dirs } from "./paths.ts";

/** An empty line, a comment, what is indented, an item, or a key. Documents, quoted keys and brackets at the edge are for a real reader. */
const KNOWN_LINE = /^(?:|#.*| .*|- .*|[A-Za-z]\w*:(?: .*)?)$/;
const FOLDER_LINE = /^(stateDir|runtimeDir|logDir):(.*)$/;
/** A path that cannot be anything but text, and needs no quotes. */
const PLAIN_PATH = /^ +((?:\.{0,2}|[A-Za-z][\w-]*)\/[\w./-]*)(?: +#.*)? *$/;

/** `undefined`: not to be told so; a reader must be asked. */
export function edgeDirs(text: string): Partial<Dirs> | undefined {
  const found: Partial<Record<keyof Dirs, string>> = {};
  // The file's own map may be indented as a whole, and an indented line may be more of the path above it.
  let mayIndent = false;
  for (const line of text.split("\n")) {
    if (!KNOWN_LINE.test(line) || (!mayIndent && /^[ -]/.test(line))) return undefined;
    if (line === "" || line.startsWith("#")) continue;
    mayIndent = true;
    const [, key, rest = ""] = FOLDER_LINE.exec(line) ?? [];
    if (key !== "stateDir" && key !== "runtimeDir" && key !== "logDir") continue;
    const [, path] = PLAIN_PATH.exec(rest) ?? [];
    if (path === undefined || found[key] !== undefined) return undefined;
    found[key] = path;
    mayIndent = false;
  }
  return found;
}
