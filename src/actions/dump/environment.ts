/** The environment of a process as a dump shows it: names of all, values only of those that say nothing secret. */
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { isOpenVariable } from "../../core/redact.ts";

const KEY_BYTES = 32;
/** Hex digits of a tag: enough to see that two values are the same, too few to try passwords against it without the key. */
const TAG_CHARS = 12;

/** Splits `NAME=value` strings. */
export function variablesOf(entries: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

/** One `NAME=value` a line; of a hidden value its length and a tag, by which it can be told whether it was the same in another dump. */
export function shownEnvironment(variables: Readonly<Record<string, string>>, tagKey: Uint8Array): string {
  const lines = Object.entries(variables).map(([name, value]) => {
    if (isOpenVariable(name)) return `${name}=${value}`;
    const tag = createHmac("sha256", tagKey).update(`${name}=${value}`).digest("hex").slice(0, TAG_CHARS);
    return `${name}: ${value.length} characters, tag ${tag}`;
  });
  return `${lines.toSorted().join("\n")}\n`;
}

/** The key of this installation's tags, made at the first use. Two workers at once: the first one's is taken. */
export function readTagKey(path: string): Uint8Array {
  try {
    writeFileSync(path, randomBytes(KEY_BYTES), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
  return readFileSync(path);
}
