/** Completion of command lines: the scripts hold all that the help shows, and real shells offer what is in them. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { command as completion, commandTree } from "../../../src/supervisor/cli/completion.ts";
import { verbs } from "../../../src/supervisor/cli/verbs.ts";
import { completionScript, SHELLS, type Shell } from "../../../src/report/completion.ts";
import { VerbRig } from "./verb-rig.ts";

const MAIN = join(import.meta.dirname, "../../../src/supervisor/main.ts");
const FIXTURES = join(import.meta.dirname, "../../fixtures");
/** For a shell that hangs, ms. */
const PATIENCE_MS = 60_000;

const io = {
  out: () => {},
  err: () => {},
  env: {},
  cwd: "/",
  isTerminal: false,
  colour: false,
  setExitCode: () => {},
};
const tree = await commandTree(verbs, io);

/** Every command that a person may type, by its words, as commander knows it. */
const commands = new Map<string, Command>();
for (const { name, hidden, load } of verbs) {
  if (hidden === true) continue;
  const parent = new Command(name);
  (await load()).command.configure(parent, io);
  commands.set(name, parent);
  for (const sub of parent.commands) commands.set(`${name} ${sub.name()}`, sub);
}

/** The part of the script that is about that command alone. */
function partOf(shell: Shell, script: string, words: string): string {
  switch (shell) {
    case "bash":
      return between(script, `\n  '${words}')\n`, "\n    ;;\n");
    case "zsh":
      return between(script, `\n_supervisor_${words.replace(" ", "_")}() {\n`, "\n}\n");
    case "fish":
      return script
        .split("\n")
        .filter((line) => line.includes(`\\'${words}\\'`))
        .join("\n");
  }
}

function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start);
  return from === -1 ? "" : text.slice(from, text.indexOf(end, from));
}

/** A text as it is in any script, but for what that must escape. */
const bare = (text: string): string => text.replace(/[\\']/g, "");

describe.each(SHELLS)("the script for %s", (shell) => {
  const script = completionScript(shell, tree);

  test("has every command and option of the help, with its line of help", () => {
    expect(commands.size).toBeGreaterThan(50);
    for (const { name, hidden, summary } of verbs) {
      expect([name, bare(script).includes(bare(summary))]).toEqual([name, hidden !== true]);
    }
    for (const [words, command] of commands) {
      const part = bare(partOf(shell, script, words));
      const help = command.createHelp();
      for (const { long, description } of help.visibleOptions(command)) {
        expect([words, part]).toEqual([words, expect.stringContaining(long?.slice(2) ?? "")]);
        expect([words, part]).toEqual([words, expect.stringContaining(bare(description))]);
      }
      for (const sub of command.commands) {
        expect([words, part]).toEqual([words, expect.stringContaining(bare(sub.description()))]);
        expect([words, part]).toEqual([words, expect.stringContaining(sub.name())]);
      }
      for (const { argChoices = [] } of command.registeredArguments)
        expect([words, part]).toEqual([words, expect.stringContaining(argChoices.join(" "))]);
    }
  });
});

/** A folder with two configs, backups, a dump and a report, and the binary on its PATH. */
function rigWithNames(): VerbRig {
  const rig = new VerbRig();
  const backups = {
    stores: { local: { kind: "directory", path: "stored" }, away: { kind: "s3" } },
    targets: { books: { kind: "sqlite", path: "a.db" }, files: { kind: "files", path: "a" } },
  };
  const bots = { mine: {}, other: { account: "binance-main" } };
  rig.write("supervisor.yaml", JSON.stringify({ version: 1, bots, backups }));
  rig.write("there/supervisor.yaml", JSON.stringify({ version: 1, bots: { away: {} } }));
  for (const id of ["books-full-20260101T000000Z-aaaaaa", "books-delta-20260102T000000Z-bbbbbb"])
    rig.write(`stored/books/${id}/manifest.json`, "{}");
  rig.write("stored/files/files-full-20260103T000000Z-cccccc/manifest.json", "{}");
  rig.write("stored/books/.tmp-books-full-20260104T000000Z-dddddd/manifest.json", "{}");
  rig.write(".supervisor/dumps/dump-mine-20260101T000000Z-exited-0123abcd-fedcba.tar.zst", "");
  rig.write(".supervisor/bots/mine/incidents/20260101T000000Z-mine.json", "{}");
  rig.write("bin/supervisor", `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(join(rig.dir, "bin/supervisor"), 0o755);
  for (const shell of SHELLS) rig.write(`script.${shell}`, completionScript(shell, tree));
  return rig;
}

const CALLS: Record<Shell, readonly string[]> = {
  bash: ["bash", join(FIXTURES, "bash-candidates.bash")],
  zsh: ["zsh", "-f", join(FIXTURES, "zsh-candidates.zsh")],
  fish: ["fish", "-c", 'source $argv[1]; complete -C "$argv[2]"'],
};

/** What the shell offers at the end of the line, with what it says about it. */
async function offered(rig: VerbRig, shell: Shell, line: string): Promise<readonly string[]> {
  const child = Bun.spawn([...CALLS[shell], join(rig.dir, `script.${shell}`), line], {
    cwd: rig.dir,
    env: {
      PATH: `${join(rig.dir, "bin")}:${process.env["PATH"] ?? "/usr/bin:/bin"}`,
      HOME: rig.dir,
      LANG: "C.UTF-8",
      TERM: "dumb",
    },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PATIENCE_MS,
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([line, err]).toEqual([line, ""]);
  return out.split("\n").filter((text) => text !== "");
}

/** The words alone; a folder's may end with a slash. */
function wordsOf(lines: readonly string[]): readonly string[] {
  return [
    ...new Set(
      lines.map(
        (line) =>
          line
            .split(/\t| {2}\(/)[0]
            ?.trim()
            .replace(/\/$/, "") ?? "",
      ),
    ),
  ].toSorted();
}

const OFFERS: Readonly<Record<string, readonly string[]>> = {
  "supervisor sta": ["start", "state", "status"],
  "supervisor dump ": ["export", "list", "now", "prune", "show", "verify"],
  "supervisor stop ": ["mine", "other"],
  "supervisor stop --json m": ["mine"],
  "supervisor stop --config there/supervisor.yaml ": ["away"],
  "supervisor stop --config=there/supervisor.yaml ": ["away"],
  "supervisor stop -c ~/there/supervisor.yaml ": ["away"],
  "supervisor stop --config th": ["there"],
  "supervisor restore books --to th": ["there"],
  "supervisor restore books --id ": ["books-delta-20260102T000000Z-bbbbbb", "books-full-20260101T000000Z-aaaaaa"],
  "supervisor restore books --store ": ["away", "local"],
  "supervisor drill ": ["all", "books", "files"],
  "supervisor dump show ": ["fedcba", "mine", "other"],
  "supervisor dump now --js": ["--json"],
  "supervisor emergency report ": ["20260101T000000Z-mine", "last", "mine", "other"],
  "supervisor emergency close mine --account ": ["binance-main", "mine"],
  "supervisor arm mine --reason ": [],
  "supervisor state level mine ": ["degraded", "emergency", "minimal", "normal"],
  "supervisor config schema --of ": ["config", "status"],
  "supervisor backup verify --level L": ["L0", "L1", "L2", "L3"],
  "supervisor no-such-command ": [],
};

for (const shell of SHELLS) {
  const absent = Bun.which(shell) === null;
  test.skipIf(absent)(
    `${shell} offers commands, options and names${absent ? ` (${shell} is not installed)` : ""}`,
    async () => {
      await using rig = rigWithNames();
      const found: Record<string, readonly string[]> = {};
      for (const line of Object.keys(OFFERS)) found[line] = wordsOf(await offered(rig, shell, line));
      expect(found).toEqual(OFFERS);
      expect((await offered(rig, shell, "supervisor stat")).join("\n")).toMatch(
        /^status\s.*show the supervisor and its bots/m,
      );
    },
  );
}

/** As a process of its own, which its bound in time may end. */
async function complete(
  rig: VerbRig,
  ...words: readonly string[]
): Promise<{ out: string; err: string; code: number }> {
  const child = Bun.spawn([process.execPath, MAIN, "__complete", ...words], {
    cwd: rig.dir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err, code };
}

describe("supervisor __complete", () => {
  test("names bots while a daemon stands still", async () => {
    await using rig = rigWithNames();
    rig.serve(() => Promise.withResolvers<Response>().promise);
    expect(await complete(rig, "bots", "--", "stop", "")).toEqual({ out: "mine\nother\n", err: "", code: 0 });
  });

  test("offers no file whose name a shell would run", async () => {
    await using rig = rigWithNames();
    rig.write(".supervisor/bots/mine/incidents/$(id>PWN).json", "{}");
    expect(await complete(rig, "incidents", "--", "emergency", "report", "")).toEqual({
      out: "mine\nother\n20260101T000000Z-mine\n",
      err: "",
      code: 0,
    });
  });

  test.each([
    ["no config", undefined],
    ["a config that is no YAML", "bots: ["],
    ["a config of another shape", "[1, 2]"],
    [
      "names that no shell would take for one word",
      JSON.stringify({ bots: { "a b": {}, "c\nd": {}, "e\u001B[2J": {} } }),
    ],
    [
      "names that a shell would run, take apart or take for an option",
      JSON.stringify({
        bots: { "$(id)": {}, "`id`": {}, "a;id": {}, "a|id": {}, "'a": {}, "a>b": {}, "~a": {}, "-a": {} },
      }),
    ],
  ])("says nothing of %s", async (_what, text) => {
    await using rig = new VerbRig();
    if (text !== undefined) rig.write("supervisor.yaml", text);
    const words = text === undefined ? ["stop", "-c", "none.yaml", ""] : ["stop", ""];
    for (const kind of ["bots", "backups", "no-such-kind"])
      expect(await complete(rig, kind, "--", ...words)).toEqual({ out: "", err: "", code: 0 });
  });
});

test.each([[["tcsh"]], [[]]])("supervisor completion %j is refused with the names of the shells", async (args) => {
  await using rig = new VerbRig();
  await expect(rig.run(completion, ...args)).rejects.toThrow(/bash.*zsh.*fish/);
  const child = Bun.spawn([process.execPath, MAIN, "completion", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  expect(await child.stderr.text()).toMatch(/bash.*zsh.*fish/);
  expect(await child.exited).toBe(2);
});
