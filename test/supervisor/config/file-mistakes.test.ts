/** Every class of mistake in a config file as a whole, with the exact message. */
import { describe, expect, test } from "vitest";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

/** Whole files, and what is said about them. */
const files: readonly (readonly [name: string, text: string, messages: readonly string[]])[] = [
  [
    "a missing version",
    "bots: { a: { command: [x] } }\n",
    ["1: version: is missing; add it (Version of the config format: 1.)"],
  ],
  ["another version", "version: 2\nbots: { a: { command: [x] } }\n", ["1: version: 2 is not known here; write 1"]],
  ["a file without bots", "version: 1\n", ["1: bots: is missing; add it (The bots, by name.)"]],
  ["an empty map of bots", "version: 1\nbots: {}\n", ["2: bots: there is no bot; add one"]],
  [
    "a bot without a command",
    "version: 1\nbots:\n  a: {}\n",
    ["3: bots.a.command: is missing; add it (Program and arguments, run without a shell.)"],
  ],
  [
    "a bad name of a bot",
    "version: 1\nbots:\n  Momentum: { command: [x] }\n",
    ["3: bots.Momentum: a bot name is lower-case letters, digits and dashes, at most 32, beginning with a letter"],
  ],
  [
    "two bots on one account",
    "version: 1\nbots:\n  a: { command: [x] }\n  b:\n    command: [x]\n    account: a\n",
    ['6: bots.b.account: bots "a" and "b" share the account "a", which may have one live bot; give each its own'],
  ],
  [
    "sections that this release has not",
    "version: 1\nbots: { a: { command: [x] } }\nalerts: {}\n",
    ['3: alerts: "alerts" is not available in this release; remove it'],
  ],
  ["a list as the file", "- a\n", ['1: a list is not a map; write it as lines of "key: value"']],
  [
    "a key that stands twice",
    "version: 1\nbots:\n  a:\n    command: [x]\n    cwd: .\n    command: [y]\n",
    ["6: bots.a.command: stands twice, first on line 4; keep one"],
  ],
  [
    "bad indentation",
    "version: 1\nbots:\n    a:\n      command: [x]\n   b: 1\n",
    ["5: not valid YAML: the indentation does not fit; align the keys of one map in one column"],
  ],
  [
    "a list that is not closed",
    "version: 1\nbots:\n  a:\n    command: [x\n    cwd: .\n",
    [
      '5: not valid YAML: a "]" is missing, or stands too far to the left; close what is open on this line or before it',
    ],
  ],
  ["a tab", "version: 1\nbots:\n\ta: 1\n", ["3: not valid YAML: a tab stands in the indentation; indent with spaces"]],
  [
    "an open quote",
    'version: 1\nbots: { a: { command: ["x] } }\n',
    ['3: not valid YAML: missing closing "quote; correct this line or the one before it'],
  ],
  [
    "a bare reference in a flow list",
    "version: 1\nbots: { a: { command: [sh, ${X}] } }\n",
    ['2: not valid YAML: ${ opens a map here; inside [ ] and { } put it in quotes, as "${NAME}"'],
  ],
  [
    "a second document",
    "version: 1\n---\nversion: 1\n",
    ['2: not valid YAML: the file holds more than one document; remove the "---" line and what does not belong'],
  ],
  [
    "a tag",
    "version: !v 1\n",
    ['1: not valid YAML: tags are not supported; put a value that begins with "!" in quotes'],
  ],
  [
    "an older YAML",
    "%YAML 1.1\n---\nversion: 1\nbots: { a: { command: [x] } }\n",
    ["1: the %YAML directive asks for an older YAML; remove its line"],
  ],
  [
    "a merge key",
    "version: 1\nbots:\n  a: &a { command: [x] }\n  b:\n    <<: *a\n    command: [x]\n",
    [
      "5: bots.b.<<: merge keys are not part of YAML 1.2; repeat the lines instead",
      "5: bots.b.<<: unknown key; remove it (known here: command, cwd, user, env, envFile, account, autostart, after, orphans, ready, startTimeout, stopSignal, stopTimeout, preStop, postStop, restart, probes, limits, output, dump, emergency)",
    ],
  ],
  [
    "an alias without an anchor",
    "version: 1\nbots: *b\n",
    ["2: bots: the anchor &b does not stand above; define it, or quote the value"],
  ],
  [
    "an anchor that holds itself",
    "version: 1\nbots: { a: { command: &c [x, *c] } }\n",
    [
      "2: bots.a.command.1: *c stands inside its own anchor; write the value out",
      "2: bots.a.command.1: a list is not text; write one value",
    ],
  ],
  [
    "anchors that blow up",
    `a: &a [${"x, ".repeat(20)}]\nb: &b [${"*a, ".repeat(9)}]\nc: &c [${"*b, ".repeat(9)}]\nd: [${"*c, ".repeat(9)}]\n`,
    ["1: not usable YAML: Excessive alias count indicates a resource exhaustion attack"],
  ],
  [
    "nesting by the thousand",
    `version: ${"[".repeat(3_000)}${"]".repeat(3_000)}\n`,
    ["1: not usable YAML: it is nested too deeply; use at most 32 levels"],
  ],
  [
    "__proto__ as a name",
    "version: 1\nbots:\n  a: { command: [x] }\n  __proto__: { command: [x] }\n",
    ["4: bots.__proto__: cannot be a key; remove it"],
  ],
];

describe("loadConfig()", () => {
  test.each(files)("refuses %s", (_name, text, messages) => {
    expect(folder.mistakes(text)).toEqual(messages.map((message) => `bot.yaml:${message}`));
  });

  test("refuses several mistakes at once, by line, under one header", () => {
    const text = [
      "version: 1",
      "bots:",
      "  a:",
      "    command: [x]",
      "    stopTimeout: 30",
      "    ready: probe",
      "    emergency: { exchange: binance, timeout: soon }",
      "  b:",
      "    account: a",
      "    command: [x]",
      "    cwd: ${NOWHERE}",
      "metrics: { listen: ':8000' }",
      `runtimeDir: /run/${"x".repeat(100)}`,
    ];
    expect(() => folder.load(text.join("\n"))).toThrow(
      expect.objectContaining({
        message: [
          "cannot use config bot.yaml: 9 errors",
          'bot.yaml:5: bots.a.stopTimeout: "30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)',
          'bot.yaml:6: bots.a.ready: "probe" needs a probe with role: startup; add one, or use ready: started',
          "bot.yaml:7: bots.a.emergency: cannot close positions without the API key; add apiKeyFile: FILE or apiKeyEnv: NAME",
          "bot.yaml:7: bots.a.emergency: cannot close positions without the API secret; add apiSecretFile: FILE or apiSecretEnv: NAME",
          'bot.yaml:7: bots.a.emergency.timeout: "soon" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)',
          'bot.yaml:9: bots.b.account: bots "a" and "b" share the account "a", which may have one live bot; give each its own',
          "bot.yaml:11: bots.b.cwd: the environment variable NOWHERE is not set; set it, or write ${NOWHERE:-default}",
          'bot.yaml:12: metrics.listen: ":8000" can be reached from other machines, and there is no auth; write 127.0.0.1:8000, or add auth: { username: NAME, passwordFile: FILE }',
          `bot.yaml:13: runtimeDir: the socket path /run/${"x".repeat(100)}/bots/a.notify has 119 bytes and may have 107; set runtimeDir to a shorter folder, for example /run/tradingbot`,
        ].join("\n"),
      }),
    );
  });

  test("carries structured issues and exit code 2", () => {
    expect(() => folder.load(botWith("stopTimeout: 30"))).toThrow(
      expect.objectContaining({
        name: "ConfigError",
        exitCode: 2,
        issues: [expect.objectContaining({ file: "bot.yaml", line: 5, column: 18, path: "bots.a.stopTimeout" })],
      }),
    );
  });

  test("refuses an empty file, one that is not UTF-8, one that is too large and one that is a folder", () => {
    expect(() => folder.load("# nothing\n")).toThrow(
      'cannot use config bot.yaml: it is empty; write one with "supervisor config init --force bot.yaml"',
    );
    expect(() => folder.load(`version: 1 # ${"x".repeat(1_048_576)}`)).toThrow(
      /^cannot use config bot.yaml: .*larger than 1048576 bytes/,
    );
    expect(() => folder.load("version: \u{FFFD}\n")).toThrow(
      "cannot use config bot.yaml: it is not UTF-8 text; save it as UTF-8",
    );
  });
});
