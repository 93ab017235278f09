/**
 * `supervisor __complete KIND -- WORDS`: names for a shell that completes a command line, one a line. They are read from the
 * config and the folders, never asked of a daemon, which may stand still; and whatever is wrong, nothing is said.
 */
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { readBackupId } from "../../core/backup-manifest.ts";
import { parseDumpName } from "../../core/dump.ts";
import { endWithin } from "../../platform/alarm.ts";
import { NAME_KINDS, type NameKind } from "../../report/completion-tree.ts";
import { dirsOf } from "../runtime/config/paths.ts";
import { readSource } from "../runtime/config/read.ts";
import { configNamedIn } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

/** A person waits at the keyboard, s. */
const PATIENCE_S = 1;
/** More than anybody reads through. */
const MAX_NAMES = 1_000;
/**
 * What a shell leaves as it stands: bash inserts a name unquoted, and would run `$(…)` in one that a file has. Nor may one be
 * taken for two, or for an option.
 */
const SAFE_NAME = /^[\w.@%+:,][\w.@%+:,-]*$/;

export const command: Verb = {
  name: "__complete",
  summary: "Prints the names that a shell offers.",
  hidden: true,
  configure: (cmd, io) => {
    cmd
      .argument("<kind>", NAME_KINDS.join(", "))
      .argument("[words...]", "the command line as far as it is typed, without the binary")
      .action((kind: string, words: readonly string[]) => {
        endWithin(PATIENCE_S);
        const wanted = NAME_KINDS.find((each) => each === kind);
        const names = wanted === undefined ? [] : namesOf(wanted, words, io);
        if (names.length > 0) io.out(names.slice(0, MAX_NAMES).join("\n"));
      });
  },
};

function namesOf(kind: NameKind, words: readonly string[], io: CliIo): readonly string[] {
  try {
    return [...new Set(lookUp(kind, words, io).filter((name) => SAFE_NAME.test(name)))];
  } catch {
    // Nothing may stand between what a person types.
    return [];
  }
}

function lookUp(kind: NameKind, words: readonly string[], io: CliIo): readonly string[] {
  const named = configNamedIn(words)?.replace(/^~\//, `${io.env["HOME"] ?? "~"}/`);
  const { located, source } = readSource({ file: named, env: io.env, cwd: io.cwd });
  const { root } = source;
  const stateDir = (): string => dirsOf(root, located.file, io.env).stateDir;
  const bots = Object.keys(entriesAt(root, "bots"));
  switch (kind) {
    case "bots":
      return bots;
    case "accounts":
      return Object.entries(entriesAt(root, "bots")).map(([name, bot]) => textAt(bot, "account") ?? name);
    case "targets":
      return Object.keys(entriesAt(root, "backups", "targets"));
    case "stores":
      return Object.keys(entriesAt(root, "backups", "stores"));
    case "backups":
      return backups(root, dirname(located.file), words);
    case "dumps":
      return [...bots, ...namesIn(join(stateDir(), "dumps")).flatMap((file) => dumpId(file) ?? [])];
    case "incidents":
      return [
        ...bots,
        ...namesIn(join(stateDir(), "bots")).flatMap((bot) =>
          namesIn(join(stateDir(), "bots", bot, "incidents")).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []),
        ),
      ];
  }
}

/** Of the targets that are named on the line, or of all; those in directories, the newest first. */
function backups(root: unknown, folder: string, words: readonly string[]): readonly string[] {
  const targets = Object.keys(entriesAt(root, "backups", "targets"));
  const named = targets.filter((target) => words.includes(target));
  const stores = Object.values(entriesAt(root, "backups", "stores")).flatMap((store) => textAt(store, "path") ?? []);
  return stores
    .flatMap((store) => (named.length > 0 ? named : targets).map((target) => join(resolve(folder, store), target)))
    .flatMap(namesIn)
    .flatMap((id) => ({ id, stamp: readBackupId(id)?.stamp }))
    .filter(({ stamp }) => stamp !== undefined)
    .toSorted((a, b) => (b.stamp ?? "").localeCompare(a.stamp ?? ""))
    .map(({ id }) => id);
}

function dumpId(file: string): string | undefined {
  return parseDumpName(file, () => 0)?.id;
}

/** The map at that place of the config; an empty one where there is none. */
function entriesAt(root: unknown, ...path: readonly string[]): object {
  let value: unknown = root;
  for (const key of path) value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return typeof value === "object" && value !== null ? value : {};
}

function textAt(value: unknown, key: string): string | undefined {
  const text: unknown = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return typeof text === "string" ? text : undefined;
}

/** Of a folder that is not there, or not ours to read, nothing. */
function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
