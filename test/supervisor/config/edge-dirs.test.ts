/** The quickest way to the folders of a config: what it finds is what the YAML parser finds in whatever that takes for YAML. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { edgeDirs } from "../../../src/supervisor/runtime/config/edge-dirs.ts";
import { dirsOf, resolveDirs } from "../../../src/supervisor/runtime/config/paths.ts";
import { parseSource } from "../../../src/supervisor/runtime/config/source.ts";

const file = "/etc/tradingbot/supervisor.yaml";
const plainPath = fc.constantFrom("/srv/x", "./state", "../a", "run/bots");
const path = fc.oneof(
  { weight: 5, arbitrary: plainPath },
  { weight: 1, arbitrary: fc.constantFrom("a b/c", "/é", "plain", "true", "/x: y", "/x #y", "") },
);
const nested = fc.constantFrom<unknown>(
  {},
  { stateDir: "/not/this" },
  ["stateDir: /not/this", { logDir: "/nor/this" }],
  "two\nlines\nstateDir: /x\n",
  "it's /a",
  'say "x"',
  "x ".repeat(100),
  "# no",
);
const config = fc.record(
  { version: fc.constant(1), stateDir: path, runtimeDir: path, note: nested, logDir: path, bots: nested },
  { requiredKeys: [] },
);
const style = fc.record({
  collectionStyle: fc.constantFrom("block" as const, "block" as const, "any" as const, "flow" as const),
  defaultStringType: fc.constantFrom(
    "PLAIN" as const,
    "PLAIN" as const,
    "QUOTE_DOUBLE" as const,
    "BLOCK_LITERAL" as const,
  ),
  indentSeq: fc.boolean(),
  lineWidth: fc.constantFrom(0, 20, 80),
});
/** Pieces that change what a line belongs to. */
const pieces = [
  "\n",
  " ",
  "\n ",
  '"',
  "'",
  "{",
  "}",
  "[",
  "]",
  "|",
  ">",
  "|\n",
  "#",
  ":",
  "- ",
  "---\n",
  "...\n",
  "? ",
  "!x ",
  "&a ",
];
const lines = [
  "\nstateDir: /y\n",
  "\nstateDir: /y",
  "stateDir: /y\n",
  "<<: ",
  "%YAML 1.1\n",
  "\t",
  "\r\n",
  "x",
  "\n}\n",
  '\n"\n',
];
const piece = fc.constantFrom(...pieces, ...lines);
const damage = fc.array(fc.record({ at: fc.nat(400), drop: fc.nat(3), put: piece }), { maxLength: 4 });

test("edgeDirs() finds the folders that the YAML parser finds, wherever the text was damaged", () => {
  let found = 0;
  fc.assert(
    fc.property(config, style, damage, (written, how, damages) => {
      let text = stringify(written, how);
      for (const { at, drop, put } of damages) text = text.slice(0, at) + put + text.slice(at + drop);
      const named = edgeDirs(text);
      const { root, issues } = parseSource(text, {});
      if (named === undefined || issues.length > 0) return;
      expect(resolveDirs(named, file, {})).toEqual(dirsOf(root, file, {}));
      if (Object.keys(named).length > 0) found += 1;
    }),
    { numRuns: 20_000 },
  );
  expect(found).toBeGreaterThan(1_000);
});

test("edgeDirs() reads a usual config", () => {
  const text = `# ours\nversion: 1\nstateDir: /var/lib/tradingbot # of systemd\nruntimeDir:  ./run\n\nbots:\n  a:\n    command: [bun, "\${BOT}"]\n`;
  expect(edgeDirs(text)).toEqual({ stateDir: "/var/lib/tradingbot", runtimeDir: "./run" });
});

test.each([
  ["a quoted path", 'stateDir: "/a"\n'],
  ["a quoted key", '"stateDir": /a\n'],
  ["a reference", "stateDir: ${HOME}/a\n"],
  ["a path that is no text", "stateDir: 1\n"],
  ["a value below its key", "stateDir:\n  /a\n"],
  ["a map that is indented as a whole", " stateDir: /a\n"],
  ["a list", "- stateDir: /a\n"],
  ["a path that goes on below", "stateDir: /a\n\n  b\n"],
  ["a key that stands twice", "stateDir: /a\nstateDir: /b\n"],
  ["a text that is JSON", '{ "stateDir": "/a" }\n'],
  ["two documents", "stateDir: /a\n---\nstateDir: /b\n"],
])("edgeDirs() leaves %s to a reader", (_, text) => {
  expect(edgeDirs(text)).toBeUndefined();
});
