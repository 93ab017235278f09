/** What is wrong with a config: one issue per mistake, printed as `FILE:LINE: PATH: what is wrong; fix`. */

/** Where a value stands: the keys and list positions that lead to it. */
export type Path = readonly (string | number)[];

/** A place in the file; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface ConfigIssue extends Position {
  readonly file: string;
  /** Keys joined by dots, for example `bots.momentum.probes.0.timeout`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong, and after a semicolon what to do about it. */
  readonly message: string;
}

/** Thrown when a config cannot be found, read or accepted; `issues` is empty when there is no file to point into. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** The contract's code for usage and config errors. */
  readonly exitCode = 2;
  readonly issues: readonly ConfigIssue[];

  constructor(message: string, issues: readonly ConfigIssue[] = [], options?: ErrorOptions) {
    super(message, options);
    this.issues = issues;
  }
}

/** The error for `issues` of the config `file`, in the order of the file's lines. */
export function configError(file: string, issues: readonly ConfigIssue[]): ConfigError {
  const sorted = issues.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const header = `cannot use config ${file}: ${sorted.length} ${sorted.length === 1 ? "error" : "errors"}`;
  return new ConfigError([header, ...sorted.map(formatIssue)].join("\n"), sorted);
}

/** One line for people. */
function formatIssue({ file, line, path, message }: ConfigIssue): string {
  return `${file}:${line}: ${path === "" ? "" : `${path}: `}${message}`;
}

export function formatPath(path: Path): string {
  return path.join(".");
}

/** One line for people, in the form of an error but marked. */
export function formatWarning({ file, line, path, message }: ConfigIssue): string {
  return `${file}:${line}: warning: ${path}: ${message}`;
}
