/** The documents people read: their links lead somewhere, and the commands and options they show exist in the binary. */
import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Glob } from "bun";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import packageJson from "../package.json" with { type: "json" };
import type { CliIo } from "../src/supervisor/cli/verb.ts";
import { verbs } from "../src/supervisor/cli/verbs.ts";

const root = join(import.meta.dirname, "..");
const files = [...new Glob("*.md").scanSync(root), ...new Glob("docs/**/*.md").scanSync(root)].toSorted();

const io: CliIo = {
  out: () => {},
  err: () => {},
  env: {},
  cwd: root,
  isTerminal: false,
  colour: false,
  setExitCode: () => {},
};

/** Every command of the binary with its options, as commander knows them. */
const commands = new Map<string, Command>();
for (const entry of verbs) {
  const command = new Command(entry.name);
  (await entry.load()).command.configure(command, io);
  commands.set(entry.name, command);
}

/** The text of a document without what stands in code. */
function proseOf(text: string): string {
  return text.replace(/^```[^]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
}

/** Command lines of a document: the lines of its `sh` blocks without comments, and what stands in code within a sentence. */
function commandLines(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap(([, block = ""]) => block.split("\n"));
  const spans = [...text.replace(/^```[^]*?^```$/gm, "").matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span);
  // A sentence may quote a message; it shows a command only where the span begins with one.
  const shown = spans.filter((span) => /^(?:\S*\/)?(?:supervisor|npm|bun) /.test(span));
  return [...blocks, ...shown].map((line) => line.replace(/\s#.*$/, ""));
}

/** The words after `supervisor` of each call in a command line; `npm run demo -- …` is one, too. */
function callsIn(line: string): string[][] {
  const direct = [...line.matchAll(/(?:^|[\s;&|/])supervisor ([a-z_][^;&|]*)/g)].map(([, words = ""]) => words);
  const demo = /\bnpm run demo(?: -- (.*))?/.exec(line);
  return [...direct, ...(demo === null ? [] : [`demo ${demo[1] ?? ""}`])].map((words) => words.trim().split(/\s+/));
}

/** What the binary does not know of one call. */
function problemsOf([verb = "", ...rest]: readonly string[]): string[] {
  const top = commands.get(verb);
  if (top === undefined) return [`no command ${verb}`];
  const named = rest[0] ?? "";
  const wantsSub = top.commands.length > 0 && /^[a-z]/.test(named);
  // Of a list such as `config init|check` only the first name is looked at.
  const sub = wantsSub ? top.commands.find((command) => command.name() === named) : top;
  if (sub === undefined) return [`no command ${verb} ${named}`];
  const known = new Set(["-h", "--help", ...sub.options.flatMap(({ short, long }) => [short, long])]);
  return rest
    .filter((word) => /^--?[a-z]/i.test(word))
    .map((word) => word.split("=", 1)[0] ?? "")
    .filter((option) => !known.has(option))
    .map((option) => `no option ${option} of ${verb}`);
}

/** The anchor that a heading gets on a web page of the repository. */
function anchorsOf(text: string): string[] {
  return [...text.replace(/^```[^]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** What is wrong with one link target of `file`. */
async function linkProblem(file: string, target: string): Promise<string | undefined> {
  if (/^[a-z]+:/.test(target)) return undefined;
  const [path = "", anchor] = target.split("#");
  const absolute = path === "" ? join(root, file) : join(root, dirname(file), path);
  if (!existsSync(absolute)) return `${target}: ${relative(root, absolute)} does not exist`;
  if (anchor === undefined || !absolute.endsWith(".md")) return undefined;
  return anchorsOf(await Bun.file(absolute).text()).includes(anchor) ? undefined : `${target}: no such heading`;
}

const linksIn = (text: string): string[] =>
  [...proseOf(text.replace(/\[`[^`\n]*`\]/g, "[code]")).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = ""]) => target);

/** Rows of tables that have more or fewer cells than the head of their table. */
function crookedRows(text: string): string[] {
  const tables = text.replace(/^```[^]*?^```$/gm, "").matchAll(/(?:^\|.*\n)+/gm);
  return [...tables].flatMap(([table]) => {
    const [head = "", ...rows] = table.trimEnd().split("\n");
    return rows.filter((row) => cellsOf(row) !== cellsOf(head));
  });
}

function cellsOf(row: string): number {
  return row.replaceAll("\\|", "").split("|").length - 2;
}

describe.each(files)("%s", (file) => {
  test("has tables whose rows are whole", async () => {
    expect(crookedRows(await Bun.file(join(root, file)).text())).toEqual([]);
  });

  test("links to files and headings that exist", async () => {
    const text = await Bun.file(join(root, file)).text();
    const problems = await Promise.all(linksIn(text).map((target) => linkProblem(file, target)));
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
  });

  test("shows commands and options that the binary has", async () => {
    const text = await Bun.file(join(root, file)).text();
    expect(commandLines(text).flatMap(callsIn).flatMap(problemsOf)).toEqual([]);
  });

  test("shows scripts that package.json has", async () => {
    const text = await Bun.file(join(root, file)).text();
    const named = commandLines(text).flatMap((line) => [...line.matchAll(/\b(?:npm|bun) run ([a-z]+)\b(?!\.)/g)]);
    expect(named.map(([, name = ""]) => name).filter((name) => !Object.hasOwn(packageJson.scripts, name))).toEqual([]);
  });
});

describe("problemsOf()", () => {
  test.each([
    ["relaod", ["no command relaod"]],
    ["emergency preview", ["no command emergency preview"]],
    ["status --colour", ["no option --colour of status"]],
    ["logs bot -x", ["no option -x of logs"]],
    ["config schema --of status", []],
    ["logs bot -f -n 3", []],
  ])("answers for supervisor %s", (words, problems) => {
    expect(problemsOf(words.split(" "))).toEqual(problems);
  });

  test("sees every call of a line", () => {
    expect(callsIn("until dist/supervisor run; do supervisor status BOT; done")).toEqual([["run"], ["status", "BOT"]]);
    expect(callsIn("npm run demo -- --keep")).toEqual([["demo", "--keep"]]);
  });
});

test("crookedRows() names a row that lacks a cell or has one too many, and takes an escaped bar for text", () => {
  const table = "| a | b |\n| - | - |\n| 1 |\n| 1 | `x\\|y` |\n| 1 | 2 | 3 |\n";
  expect(crookedRows(table)).toEqual(["| 1 |", "| 1 | 2 | 3 |"]);
});

test("README.md names every command of the binary", async () => {
  const text = await Bun.file(join(root, "README.md")).text();
  const named = new Set(commandLines(text).flatMap((line) => callsIn(line).map(([verb]) => verb)));
  const shown = verbs.filter(({ hidden }) => hidden !== true).map(({ name }) => name);
  expect(shown.filter((name) => !named.has(name))).toEqual([]);
});
