/** Values in messages: short, on one line, and never a secret. */
import { valueAt } from "./value-at.ts";
import type { Path } from "./issues.ts";
import type { ConfigSource } from "./source.ts";

/** Longest excerpt of a value in a message, characters. */
const VALUE_CHARS = 60;

/** The value at `path` for a message: short, never a secret, and as written when it came from the environment. */
export function showValue(source: ConfigSource, path: Path): string {
  const value = valueAt(source.root, path);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a map";
  if (isSecret(path)) return "the value (hidden)";
  const template = source.templateOf(path);
  if (template !== undefined) return `${quote(template)} (from the environment)`;
  return typeof value === "string" ? quote(value) : String(value);
}

/** Whether a value at `path` may be, or be mistaken for, a secret. */
export function isSecret(path: Path): boolean {
  // The first two steps are `bots` and a name, which may be "env".
  const sections = path.slice(2, -1);
  if (sections.includes("env") || sections.includes("headers")) return true;
  return /^(?:api(?:Key|Secret)|passphrase|password)/.test(String(path.at(-1)));
}

/** `message`, which may quote the value at `path`, with that value hidden where it must be. */
export function hideValue(source: ConfigSource, path: Path, message: string): string {
  const value = valueAt(source.root, path);
  if (typeof value !== "string" || (source.templateOf(path) === undefined && !isSecret(path))) return message;
  return message.replaceAll(`"${value}"`, () => showValue(source, path));
}

/** `text` with user and password of the addresses in it left out. */
export function withoutPassword(text: string): string {
  return text.replace(/\/\/[^/@\s"]+@/g, "//***@");
}

/** `text` in quotes on one line, shortened. */
function quote(value: string): string {
  const text = JSON.stringify(withoutPassword(value));
  return text.length <= VALUE_CHARS ? text : `${text.slice(0, VALUE_CHARS)}…"`;
}
