/** This program as a person types it: a binary that is not on PATH is no `supervisor`. */
import { isAbsolute, relative } from "node:path";
import { shellWord } from "../../core/shell-word.ts";
import { ownProgram } from "../../platform/worker.ts";

/** The words that run this very program in a shell whose folder is `cwd`. */
export function ownCommand(cwd: string, program: readonly string[] = ownProgram()): string {
  return program.map((path) => shellWord(shorter(path, cwd))).join(" ");
}

/** The path as it is or from `cwd`, whichever is shorter. */
function shorter(path: string, cwd: string): string {
  if (!isAbsolute(path)) return path;
  const near = relative(cwd, path);
  // A name without a slash would be looked for on PATH.
  const typed = near.includes("/") ? near : `./${near}`;
  return typed.length < path.length ? typed : path;
}
