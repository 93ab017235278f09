/**
 * Reads the plain part of YAML 1.2 that most configs are written in (and JSON), fast enough to stand before the start of a
 * bot. It never guesses: what it does not know in every detail is left to the real parser, which also says what is wrong.
 */

/** What it takes: printable ASCII and newlines. Tabs, references and everything else have rules that are not known here. */
const PLAIN_TEXT = /^[\n\u0020-\u007E]*$/;
/** A line that is a comment as a whole; whatever it may stand in the middle of is not plain, or has comments too. */
const COMMENT_LINE = /^ *#.*$/gm;
/** Document markers and directives. */
const MARKER = /^(?:---|\.\.\.|%)/m;
/** Nesting of maps and lists; a config has seven levels. */
const MAX_DEPTH = 16;

const KEY = /[A-Za-z_][A-Za-z0-9_.-]*/;
const WHOLE_KEY = new RegExp(`^${KEY.source}$`);
const BLOCK_KEY = new RegExp(`^(${KEY.source}):(?: +(.*))?$`);
const FLOW_KEY = new RegExp(`${KEY.source}(?=: )`, "y");
const DOUBLE_QUOTED = /"(?:[^"\\\n]|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4})*"/y;
const SINGLE_QUOTED = /'(?:[^'\n]|'')*'/y;
const FLOW_PLAIN = /[^,[\]{}\n]+/y;
/** No key of a map is one of these words, which mean something else as values. */
const RESERVED = /^(?:true|false|null)$/i;

const PLAIN_START = /^[A-Za-z0-9_/.+(=^$<-]/;
const INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;
const FRACTION = /^-?\d{1,9}\.\d{1,9}$/;
/** Everything that the core schema of YAML 1.2 takes for a number. */
const NUMBER_LIKE = /^[-+]?(?:\.?\d[\d.]*(?:e[-+]?\d+)?|0o[0-7]+|0x[\da-f]+|\.inf|\.nan)$/i;
const NULL_LIKE = /^(?:~|null)$/i;

class NotPlain extends Error {}

/**
 * The data of the text `written`; `undefined` where the real parser must be asked. Never throws. References to the environment are
 * for that one too, unless they are `kept` as the text that they stand in.
 */
export function parsePlain(
  written: string,
  { references }: { readonly references?: "kept" | undefined } = {},
): unknown {
  const text = written.replace(COMMENT_LINE, "");
  if (!PLAIN_TEXT.test(text) || MARKER.test(text)) return undefined;
  if (references === undefined && text.includes("${")) return undefined;
  try {
    const start = text.search(/\S/);
    if (start < 0) return undefined;
    if (text[start] !== "{") return new Block(text).whole();
    // Between brackets a value may go on below a comment line, or must not.
    return text === written ? new Flow(text, start).whole() : undefined;
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

function refuse(): never {
  throw new NotPlain();
}

function put(target: Record<string, unknown>, key: string, value: unknown): void {
  if (RESERVED.test(key) || key === "__proto__" || Object.hasOwn(target, key)) refuse();
  target[key] = value;
}

/** What an unquoted scalar means. */
function plainScalar(text: string): unknown {
  if (!PLAIN_START.test(text) || text.includes(": ") || text.includes(" #") || text.endsWith(":")) refuse();
  if (text === "true" || text === "false") return text === "true";
  if (INTEGER.test(text) || FRACTION.test(text)) return Number(text);
  if (NUMBER_LIKE.test(text) || NULL_LIKE.test(text) || RESERVED.test(text) || /^-(?: |$)/.test(text)) refuse();
  return text;
}

interface Line {
  readonly indent: number;
  readonly content: string;
}

/** Maps and lists by indentation; each scalar on one line. */
class Block {
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string) {
    for (const raw of text.split("\n")) {
      const content = raw.trim();
      if (content !== "" && !content.startsWith("#")) this.#lines.push({ indent: raw.search(/\S/), content });
    }
  }

  whole(): unknown {
    const value = this.#node(this.#next?.indent ?? 0, 0);
    return this.#next === undefined ? value : refuse();
  }

  get #next(): Line | undefined {
    return this.#lines[this.#at];
  }

  #node(indent: number, depth: number): unknown {
    if (depth > MAX_DEPTH) refuse();
    return isItem(this.#next) ? this.#list(indent, depth) : this.#map(indent, depth);
  }

  #map(indent: number, depth: number): unknown {
    const map: Record<string, unknown> = {};
    for (let line = this.#next; line?.indent === indent && !isItem(line); line = this.#next) {
      const [, key, rest] = BLOCK_KEY.exec(line.content) ?? refuse();
      this.#at += 1;
      put(map, key ?? refuse(), isEmpty(rest) ? this.#below(indent, depth) : this.#inline(rest ?? "", indent));
    }
    return this.#closed(indent, map);
  }

  /** What stands below a key that has no value on its own line: a list may stand as far left as the key. */
  #below(indent: number, depth: number): unknown {
    const line = this.#next;
    if (line === undefined || line.indent < indent) return refuse();
    if (line.indent === indent) return isItem(line) ? this.#list(indent, depth + 1) : refuse();
    return this.#node(line.indent, depth + 1);
  }

  #list(indent: number, depth: number): unknown {
    const list: unknown[] = [];
    for (let line = this.#next; line?.indent === indent && isItem(line); line = this.#next) {
      const rest = line.content.slice(1).trimStart();
      if (rest === "" || rest.startsWith("#") || isItem({ indent, content: rest })) refuse();
      if (BLOCK_KEY.test(rest)) {
        const inner = indent + line.content.length - rest.length;
        this.#lines[this.#at] = { indent: inner, content: rest };
        list.push(this.#map(inner, depth + 1));
      } else {
        this.#at += 1;
        list.push(this.#inline(rest, indent));
      }
    }
    return this.#closed(indent, list);
  }

  /** Nothing may stand further right than what has just ended. */
  #closed<T>(indent: number, value: T): T {
    return this.#next !== undefined && this.#next.indent > indent ? refuse() : value;
  }

  /** A value on the line of its key; one that goes on below is not plain. */
  #inline(text: string, indent: number): unknown {
    if (this.#next !== undefined && this.#next.indent > indent) refuse();
    const first = text[0] ?? "";
    if (`{["'`.includes(first)) return new Flow(text, 0).whole();
    return plainScalar(text.replace(/ +#.*$/, ""));
  }
}

function isItem(line: Line | undefined): boolean {
  return line !== undefined && (line.content === "-" || line.content.startsWith("- "));
}

function isEmpty(rest: string | undefined): boolean {
  return rest === undefined || rest === "" || rest.startsWith("#");
}

/** Maps, lists and scalars in brackets and quotes. */
class Flow {
  readonly #text: string;
  #at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  /** The value, behind which only a comment may stand. */
  whole(): unknown {
    const value = this.#value(0);
    return /^\s*$|^ +#[^\n]*$/.test(this.#text.slice(this.#at)) ? value : refuse();
  }

  #value(depth: number): unknown {
    if (depth > MAX_DEPTH) refuse();
    switch (this.#text.charAt(this.#at)) {
      case "{":
        return this.#collection("}", {}, (map) => put(map, this.#key(), this.#after(depth)));
      case "[":
        return this.#collection("]", [], (list: unknown[]) => list.push(this.#value(depth + 1)));
      case '"':
        return JSON.parse(this.#take(DOUBLE_QUOTED));
      case "'":
        return this.#take(SINGLE_QUOTED).slice(1, -1).replaceAll("''", "'");
      default:
        return plainScalar(this.#take(FLOW_PLAIN).trimEnd());
    }
  }

  #collection<T>(end: string, into: T, take: (into: T) => unknown): T {
    this.#at += 1;
    this.#skip();
    if (this.#text[this.#at] === end) {
      this.#at += 1;
      return into;
    }
    for (;;) {
      take(into);
      this.#skip();
      const mark = this.#text[this.#at];
      this.#at += 1;
      if (mark === end) return into;
      if (mark !== ",") refuse();
      this.#skip();
    }
  }

  #key(): string {
    if (this.#text[this.#at] !== '"') return this.#take(FLOW_KEY);
    const key: unknown = JSON.parse(this.#take(DOUBLE_QUOTED));
    return typeof key === "string" && WHOLE_KEY.test(key) ? key : refuse();
  }

  /** The value behind the colon of a key. */
  #after(depth: number): unknown {
    if (this.#text[this.#at] !== ":") refuse();
    this.#at += 1;
    this.#skip();
    return this.#value(depth + 1);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? refuse();
    this.#at += found.length;
    return found;
  }

  #skip(): void {
    while (this.#text[this.#at] === " " || this.#text[this.#at] === "\n") this.#at += 1;
  }
}
