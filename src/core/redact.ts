/** Takes secrets out of text that is kept or shown: those that are known word by word, and what looks like one. */

/** What stands in their place. */
const MARK = "***";
/** Shorter known secrets are left: taking out every "1" or "abc" would leave nothing to read. */
const MIN_SECRET_CHARS = 4;

export interface Redacted {
  readonly text: string;
  /** Places where something was taken out. */
  readonly count: number;
}

/** What looks like a secret whatever its value; the first group stays. */
const PATTERNS: readonly RegExp[] = [
  /()-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  // User and password in an address.
  /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"'<>]+(?=@)/gi,
  // JSON web tokens.
  /()\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g,
  /(\bBearer\s+)[\w.~+/=-]{8,}/gi,
  // Options of programs: --api-key=… and --password ….
  /(--[\w-]*(?:key|secret|token|pass)[\w-]*[= ])\S+/gi,
  // A long word behind a name that speaks of secrets: in JSON, YAML, queries, headers.
  /((?:key|secret|token|passw(?:or)?d|passphrase|signature|credential)s?["']?\s*[:=]\s*["']?)[A-Za-z0-9+/_=-]{16,}/gi,
];

/**
 * What takes secrets out of texts. `secrets` are taken out wherever they stand, also as they are written in addresses,
 * in JSON and in base64; the longest first, so that one within another leaves no rest.
 */
export function redactor(secrets: Iterable<string>): (text: string) => Redacted {
  const words = new Set<string>();
  for (const secret of secrets) {
    const word = secret.trim();
    if (word.length < MIN_SECRET_CHARS) continue;
    for (const form of [word, encodeURIComponentSafely(word), JSON.stringify(word).slice(1, -1)]) words.add(form);
    for (const form of base64Forms(word)) words.add(form);
  }
  const known = [...words].toSorted((a, b) => b.length - a.length);
  return (text) => {
    let count = 0;
    let result = text;
    for (const word of known) {
      if (!result.includes(word)) continue;
      const parts = result.split(word);
      count += parts.length - 1;
      result = parts.join(MARK);
    }
    for (const pattern of PATTERNS)
      result = result.replace(pattern, (_whole, kept: string) => {
        count += 1;
        return `${kept}${MARK}`;
      });
    return { text: result, count };
  };
}

/** Variables whose values say nothing secret and much about the machine. */
const OPEN_VARIABLES =
  /^(?:PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|USER|LOGNAME|SHELL|PWD|TERM|NODE_ENV|NODE_VERSION|PYTHONUNBUFFERED|PYTHONFAULTHANDLER|PYTHONPATH|GOMAXPROCS|MALLOC_ARENA_MAX|NOTIFY_SOCKET|WATCHDOG_USEC|INVOCATION_ID|SUPERVISOR_\w+)$/;

/** Whether the value of this variable may be kept as it is. */
export function isOpenVariable(name: string): boolean {
  return OPEN_VARIABLES.test(name);
}

/** The values of an environment that are taken for secrets. */
export function secretValues(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.entries(environment).flatMap(([name, value]) =>
    value === undefined || isOpenVariable(name) || !mayBeSecret(name, value) ? [] : [value],
  );
}

/** Settings such as `info`, `true` or `8080` stand in too many texts to be taken out of all of them. */
function mayBeSecret(name: string, value: string): boolean {
  return /key|secret|token|pass|credential|auth|dsn|url/i.test(name) || value.length >= 12;
}

function encodeURIComponentSafely(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    // A lone surrogate has no such form.
    return text;
  }
}

/** How the word begins and goes on in base64, whatever stands before it: the part that does not depend on its neighbours. */
function base64Forms(word: string): readonly string[] {
  const bytes = new TextEncoder().encode(word);
  return [0, 1, 2].flatMap((shift) => {
    const padded = new Uint8Array(shift + bytes.length);
    padded.set(bytes, shift);
    const text = btoa(String.fromCharCode(...padded));
    const from = Math.ceil((shift * 8) / 6);
    const to = Math.floor((padded.length * 8) / 6);
    const form = text.slice(from, to);
    return form.length >= 8 ? [form] : [];
  });
}
