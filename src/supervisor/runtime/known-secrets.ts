/** Every secret that the supervisor can know of, so that none of them is kept in a dump. */
import { secretValues } from "../../core/redact.ts";

export interface KnownSecrets {
  readonly values: readonly string[];
  readonly files: readonly string[];
}

/** Keys of the config whose value names a file, or a variable of the supervisor, that holds a secret. */
const NAMES_FILE = /(?:key|secret|passphrase|password|identity)file$/i;
const NAMES_VARIABLE = /(?:key|secret|passphrase|password)env$/i;
/** Maps of the config whose values may be secrets. */
const OPEN_MAPS = new Set(["env", "headers"]);

/** What `config`, or a part of it, says of secrets, in whatever section; `env` is the supervisor's own environment. */
export function knownSecrets(config: unknown, env: Readonly<Record<string, string | undefined>>): KnownSecrets {
  const values: string[] = [];
  const files: string[] = [];
  const visit = (key: string, value: unknown): void => {
    if (typeof value === "string") {
      if (NAMES_FILE.test(key)) files.push(value);
      if (NAMES_VARIABLE.test(key)) values.push(env[value] ?? "");
      const password = /^[a-z][a-z0-9+.-]*:\/\/[^\s/@:]*:([^\s/@]+)@/i.exec(value)?.[1];
      if (password !== undefined) values.push(password, decoded(password));
      return;
    }
    if (typeof value !== "object" || value === null) return;
    if (OPEN_MAPS.has(key)) values.push(...secretValues(stringsOf(value)));
    for (const [name, item] of Object.entries(value)) visit(name, item);
  };
  visit("", config);
  return { values: [...new Set(values)].filter(Boolean), files: [...new Set(files)] };
}

/** The same value with what may be a secret hidden, for a person who reads a dump. */
export function withoutSecrets(config: unknown): unknown {
  const hide = (key: string, value: unknown): unknown => {
    if (Array.isArray(value)) return value.map((item: unknown) => hide(key, item));
    if (typeof value !== "object" || value === null) return value;
    if (OPEN_MAPS.has(key)) return Object.fromEntries(Object.keys(value).map((name) => [name, "***"]));
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hide(name, item)]));
  };
  return hide("", config);
}

function stringsOf(map: object): Record<string, string> {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, String(value)]));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
