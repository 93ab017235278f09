/** Sections under a name that the config cannot have, read under one that it can, so that one look shows the mistakes in them, too. */
import type * as z from "zod";
import { nearest } from "../../../core/nearest.ts";
import { fieldAt } from "./fields.ts";
import type { Path } from "./issues.ts";
import { valueAt } from "./value-at.ts";

export interface Respelling {
  readonly root: unknown;
  /** The path in the file of one in `root`. */
  readonly written: (path: Path) => Path;
  /** Whether a path in `root` leads into a section that has another name in the file. */
  readonly isInside: (path: Path) => boolean;
  /** A message with the names of the file. */
  readonly named: (message: string) => string;
}

interface Rename {
  /** Of the map that holds the section. */
  readonly path: Path;
  readonly from: string;
  readonly to: string;
}

/** `undefined`: the error speaks of no such section. */
export function respell(root: unknown, error: z.ZodError): Respelling | undefined {
  const renames = error.issues.flatMap((issue) => renamesFor(root, issue));
  if (renames.length === 0) return undefined;
  const written = (path: Path): Path =>
    path.map((step, depth) => renames.find((each) => each.to === step && leadsTo(each, path, depth))?.from ?? step);
  return {
    root: renames.reduce(renamed, root),
    written,
    isInside: (path) =>
      renames.some((each) => path[each.path.length] === each.to && leadsTo(each, path, each.path.length)),
    named: (message) =>
      renames.reduce((text, { from, to }) => (isMadeUp(to) ? text.replaceAll(to, from) : text), message),
  };
}

function leadsTo({ path: holder }: Rename, path: Path, depth: number): boolean {
  return depth === holder.length && holder.every((step, index) => step === path[index]);
}

function renamesFor(root: unknown, issue: z.core.$ZodIssue): readonly Rename[] {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  if (issue.code === "invalid_key") {
    const from = String(path.at(-1));
    const holder = path.slice(0, -1);
    return isSection(valueAt(root, path)) ? [{ path: holder, from, to: madeUp(root, holder, from) }] : [];
  }
  if (issue.code !== "unrecognized_keys") return [];
  const known = Object.keys(fieldAt(root, path)?.properties ?? {});
  const taken = new Set<string>();
  return issue.keys.flatMap((from) => {
    const [to] = nearest(from, known);
    if (to === undefined || taken.has(to) || valueAt(root, [...path, to]) !== undefined) return [];
    taken.add(to);
    return isSection(valueAt(root, [...path, from])) ? [{ path, from, to }] : [];
  });
}

function isSection(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

const MADE_UP = "unnamed-";

/** A name that a bot, a target and a store may have, and that none has. */
function madeUp(root: unknown, holder: Path, from: string): string {
  const names = Object.keys(Object(valueAt(root, holder)));
  return `${MADE_UP}${names.indexOf(from)}`;
}

function isMadeUp(name: string): boolean {
  return name.startsWith(MADE_UP);
}

function renamed(root: unknown, { path, from, to }: Rename): unknown {
  const [step, ...rest] = path;
  if (Array.isArray(root))
    return root.map((item: unknown, index) => (index === step ? renamed(item, { path: rest, from, to }) : item));
  const entries = Object.entries(Object(root));
  if (step === undefined) return Object.fromEntries(entries.map(([key, value]) => [key === from ? to : key, value]));
  return Object.fromEntries(
    entries.map(([key, value]) => [key, key === step ? renamed(value, { path: rest, from, to }) : value]),
  );
}
