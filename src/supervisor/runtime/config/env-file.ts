/**
 * Files of KEY=VALUE lines, read as systemd reads EnvironmentFile= (systemd.exec(5)): `#` and `;` begin a comment line,
 * single quotes are literal, double quotes know \" \\ \` \$, a backslash at the end of a line joins the next one.
 * What systemd ignores with a warning is an error here.
 */

/** Names that are not of the variables which the supervisor sets for a bot. */
export const FREE_ENV_NAME = /^(?!(?:NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID|INVOCATION_ID)$|SUPERVISOR_)/;

/** Largest file, bytes; the kernel's own bound on an environment is near. */
export const MAX_ENV_FILE_BYTES = 1_048_576;

export interface EnvFile {
  readonly variables: Readonly<Record<string, string>>;
  /** Lines that are not understood, counted from 1. */
  readonly errors: readonly { readonly line: number; readonly message: string }[];
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The variables of `text`; a name that stands twice has its last value, as in systemd. */
export function parseEnvFile(text: string): EnvFile {
  const variables: Record<string, string> = {};
  const errors: { line: number; message: string }[] = [];
  let offset = 0;
  let line = 1;
  while (offset < text.length) {
    const end = endOfLine(text, offset);
    const start = text.slice(offset, end).trim();
    if (start === "" || start.startsWith("#") || start.startsWith(";")) {
      offset = end + 1;
      line += 1;
      continue;
    }
    const equals = text.indexOf("=", offset);
    const name = equals === -1 || equals > end ? undefined : text.slice(offset, equals).trim();
    if (name === undefined || !NAME.test(name)) {
      errors.push({ line, message: "the line is not NAME=VALUE" });
      offset = end + 1;
      line += 1;
      continue;
    }
    const value = readValue(text, equals + 1);
    if (value.text.includes("\0")) errors.push({ line, message: `the value of ${name} holds a NUL character` });
    else if (value.closed) variables[name] = value.text;
    else errors.push({ line, message: `a quote in the value of ${name} is not closed` });
    line += text.slice(offset, value.next).split("\n").length - 1;
    offset = value.next;
  }
  return { variables, errors };
}

function endOfLine(text: string, offset: number): number {
  const end = text.indexOf("\n", offset);
  return end === -1 ? text.length : end;
}

interface Value {
  readonly text: string;
  /** Offset behind the newline that ended the value. */
  readonly next: number;
  readonly closed: boolean;
}

/** systemd's states: before a part of the value, in a bare part, in either kind of quotes. */
type Mode = "before" | "bare" | "single" | "double";

function readValue(text: string, from: number): Value {
  let value = "";
  /** Length of `value` up to which trailing blanks are part of it. */
  let kept = 0;
  let mode: Mode = "before";
  for (let i = from; i < text.length; i += 1) {
    const char = text.charAt(i);
    if (mode === "single" || mode === "double") {
      const quote: string = mode === "single" ? "'" : '"';
      if (char === quote) mode = "before";
      else if (mode === "double" && char === "\\") {
        value += unescapeQuoted(text.charAt(i + 1));
        i += 1;
      } else value += char;
      kept = value.length;
    } else if (char === "\n") return { text: value.slice(0, kept), next: i + 1, closed: true };
    else if (char === "\\") {
      const escaped = text.charAt(i + 1);
      value += escaped === "\n" ? "" : escaped;
      kept = value.length;
      mode = "bare";
      i += 1;
    } else if (mode === "before" && (char === "'" || char === '"')) mode = char === "'" ? "single" : "double";
    else if (/[ \t\r]/.test(char)) value += mode === "before" ? "" : char;
    else {
      value += char;
      kept = value.length;
      mode = "bare";
    }
  }
  return { text: value.slice(0, kept), next: text.length, closed: mode === "before" || mode === "bare" };
}

function unescapeQuoted(char: string): string {
  if (char === "\n") return "";
  return /["\\`$]/.test(char) ? char : `\\${char}`;
}
