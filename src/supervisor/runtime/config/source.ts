/** The config file as data that remembers its lines: strict YAML 1.2 (core schema, one document), references replaced. */
import { isScalar, LineCounter, parseDocument, Scalar, visit, type Document, type YAMLError } from "yaml";
import type { Path, Position } from "./issues.ts";
import { isDeeperThan, nodeAt, offsetOf, pathOf } from "./nodes.ts";
import { substitute, type Environment } from "./substitute.ts";

/** Uses of anchors in one file; what they may blow up to is bounded by the parser with the same number. */
const MAX_ALIASES = 100;

/** Lines with syntax errors shown; the ones behind are mostly consequences of the first. */
const MAX_SYNTAX_ERRORS = 5;

/** How far around a syntax error its line is looked at, characters each way. */
const LINE_EXCERPT_CHARS = 200;

/** Nesting of maps and lists: the schema needs seven levels, and visits take time with the square of the depth. */
const MAX_DEPTH = 32;

/** Something wrong with the text itself, before any schema is asked. */
interface SourceIssue extends Position {
  readonly path: Path;
  readonly message: string;
}

export interface ConfigSource {
  /** The parsed file; `undefined` when it could not be parsed. */
  readonly root: unknown;
  readonly issues: readonly SourceIssue[];
  /** Where the value, or its key, stands; the nearest enclosing place for what is not written in the file. */
  readonly positionOf: (path: Path, at?: "key" | "value") => Position;
  /** The text as written, when the scalar at `path` holds a reference. */
  readonly templateOf: (path: Path) => string | undefined;
  /** Whether a reference at `path` could not be replaced: what a schema says of it is noise. */
  readonly isUnresolved: (path: Path) => boolean;
}

/** Parses `text`; never throws for what the text holds. */
export function parseSource(text: string, env: Environment): ConfigSource {
  const lines = new LineCounter();
  const at = (offset: number | undefined): Position => {
    const { line, col } = lines.linePos(offset ?? 0);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, stringKeys: true });
  const syntax = syntaxIssues(text, [...doc.errors, ...doc.warnings], at);
  if (syntax.length > 0) return unusable(syntax);
  if (isDeeperThan(doc.contents, MAX_DEPTH)) return unusable([{ ...at(0), path: [], message: TOO_DEEP }]);

  const issues: SourceIssue[] = [...keyIssues(doc, at), ...aliasIssues(doc, at)];
  if (doc.directives.yaml.version !== "1.2")
    issues.push({ ...at(0), path: [], message: "the %YAML directive asks for an older YAML; remove its line" });
  const references = replaceReferences(doc, env, at);
  issues.push(...references.issues);
  let root: unknown;
  try {
    root = doc.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    // ReferenceError: anchors blow up beyond their bound. One whose anchor is missing was reported above.
    if (!(error instanceof ReferenceError)) throw error;
    if (issues.length === 0) issues.push({ ...at(0), path: [], message: `not usable YAML: ${error.message}` });
  }
  return {
    root,
    issues,
    positionOf: (path, side = "value") => at(offsetOf(doc, path, side)),
    templateOf: (path) => references.templates.get(nodeAt(doc, path)),
    isUnresolved: (path) => references.failed.has(nodeAt(doc, path)),
  };
}

/** A source of which only the mistakes are known. */
function unusable(issues: readonly SourceIssue[]): ConfigSource {
  return {
    root: undefined,
    issues,
    positionOf: () => ({ line: 1, column: 1 }),
    templateOf: () => undefined,
    isUnresolved: () => false,
  };
}

const TOO_DEEP = `not usable YAML: it is nested too deeply; use at most ${MAX_DEPTH} levels`;

const SYNTAX: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "a tab stands in the indentation; indent with spaces",
  MULTIPLE_DOCS: 'the file holds more than one document; remove the "---" line and what does not belong',
  BAD_INDENT: "the indentation does not fit; align the keys of one map in one column",
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " stands on the line; put a value that contains ": " in quotes',
  BAD_ALIAS: "this anchor or alias has no usable name; put a value that begins with & or * in quotes",
  NON_STRING_KEY: "a key is not text; put it in quotes",
  TAG_RESOLVE_FAILED: 'tags are not supported; put a value that begins with "!" in quotes',
};

/** The first syntax error of each line: the ones behind it are mostly its consequences. */
function syntaxIssues(text: string, errors: readonly YAMLError[], at: (offset?: number) => Position): SourceIssue[] {
  const byLine = new Map<number, SourceIssue>();
  for (const { code, message, pos } of errors) {
    if (byLine.size === MAX_SYNTAX_ERRORS) break;
    const place = at(pos[0]);
    if (!byLine.has(place.line))
      byLine.set(place.line, { ...place, path: [], message: syntaxMessage(code, message, lineAt(text, pos[0])) });
  }
  return [...byLine.values()];
}

function syntaxMessage(code: string, message: string, line: string): string {
  if (code === "RESOURCE_EXHAUSTION") return TOO_DEEP;
  const unquoted = /(?<!\$)[[{,][^"'#]*\$\{/.test(line);
  if (unquoted) return `not valid YAML: \${ opens a map here; inside [ ] and { } put it in quotes, as "\${NAME}"`;
  const [, bracket] = /must be sufficiently indented and end with a ([\]}])/.exec(message) ?? [];
  if (bracket !== undefined)
    return `not valid YAML: a "${bracket}" is missing, or stands too far to the left; close what is open on this line or before it`;
  const known = SYNTAX[code];
  if (known !== undefined) return `not valid YAML: ${known}`;
  return `not valid YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}; correct this line or the one before it`;
}

/** The line around `offset`, or what of it lies within reach. */
function lineAt(text: string, offset: number): string {
  const before = text.slice(Math.max(offset - LINE_EXCERPT_CHARS, 0), offset);
  const after = text.slice(offset, offset + LINE_EXCERPT_CHARS);
  return `${before.slice(before.lastIndexOf("\n") + 1)}${after.split("\n", 1)[0] ?? ""}`;
}

/** Keys that stand twice in one map, and keys with a meaning of their own in JavaScript or YAML 1.1. */
function keyIssues(doc: Document.Parsed, at: (offset?: number) => Position): SourceIssue[] {
  const issues: SourceIssue[] = [];
  visit(doc, {
    Map(_key, map, ancestors) {
      const seen = new Map<string, Position>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        const position = at(key.range?.[0]);
        const path = [...pathOf([...ancestors, map]), name];
        const first = seen.get(name);
        if (first === undefined) seen.set(name, position);
        else issues.push({ ...position, path, message: `stands twice, first on line ${first.line}; keep one` });
        if (name === "__proto__") issues.push({ ...position, path, message: "cannot be a key; remove it" });
        if (name === "<<")
          issues.push({ ...position, path, message: "merge keys are not part of YAML 1.2; repeat the lines instead" });
      }
    },
  });
  return issues;
}

function aliasIssues(doc: Document.Parsed, at: (offset?: number) => Position): SourceIssue[] {
  const issues: SourceIssue[] = [];
  let count = 0;
  visit(doc, {
    Alias(_key, alias, ancestors) {
      count += 1;
      const place = { ...at(alias.range?.[0]), path: pathOf([...ancestors, alias]) };
      const target = alias.resolve(doc);
      if (target === undefined)
        issues.push({
          ...place,
          message: `the anchor &${alias.source} does not stand above; define it, or quote the value`,
        });
      else if (ancestors.includes(target))
        issues.push({ ...place, message: `*${alias.source} stands inside its own anchor; write the value out` });
      if (count === MAX_ALIASES + 1)
        issues.push({ ...place, message: `the file uses anchors more than ${MAX_ALIASES} times; write values out` });
    },
  });
  return issues;
}

interface References {
  readonly issues: readonly SourceIssue[];
  readonly templates: ReadonlyMap<unknown, string>;
  readonly failed: ReadonlySet<unknown>;
}

function replaceReferences(doc: Document.Parsed, env: Environment, at: (offset?: number) => Position): References {
  const issues: SourceIssue[] = [];
  const templates = new Map<unknown, string>();
  const failed = new Set<unknown>();
  visit(doc, {
    Scalar(key, node, ancestors) {
      if (key === "key" || typeof node.value !== "string") return;
      const result = substitute(node.value, env);
      if (result.kind === "failed") {
        failed.add(node);
        issues.push({ ...at(node.range?.[0]), path: pathOf([...ancestors, node]), message: result.message });
      } else if (result.changed) {
        templates.set(node, node.value);
        node.value = node.type === Scalar.PLAIN && node.tag === undefined ? plainValue(doc, result.text) : result.text;
      }
    },
  });
  return { issues, templates, failed };
}

/** What the parser would have made of `text` as a plain scalar: a number, a truth value, null, or the text itself. */
function plainValue(doc: Document.Parsed, text: string): unknown {
  for (const tag of doc.schema.tags) {
    if (tag.default !== true || tag.collection !== undefined || tag.test?.test(text) !== true) continue;
    const made = tag.resolve(text, () => undefined, {});
    return isScalar(made) ? made.value : made;
  }
  return text;
}
