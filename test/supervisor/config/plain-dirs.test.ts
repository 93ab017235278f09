/** The quick way to the folders of a config finds those that the loader finds, or leaves it to that. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { plainDirs } from "../../../src/supervisor/runtime/config/plain-dirs.ts";
import { loadDirs } from "../../../src/supervisor/runtime/config/read.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const file = folder.write("supervisor.yaml", "");
const env = { HOME: "/home/trader", STATE_DIRECTORY: "/var/lib/tradingbot" };

const path = fc.constantFrom(
  "state",
  "./a b",
  "/srv/x",
  "",
  "${HOME}/state",
  "${NONE:-/tmp/y}",
  "é",
  "true",
  "x: y",
  "1",
);
const config = fc.record(
  {
    stateDir: fc.oneof(path, fc.integer(), fc.constant(null)),
    runtimeDir: path,
    logDir: path,
    bots: fc.constantFrom(
      {},
      { a: { command: ["bun", "${HOME}/bot.ts"], env: { KEY: "${KEY}", stateDir: "/not/this" } } },
    ),
  },
  { requiredKeys: [] },
);

test("plainDirs() finds the folders that the loader finds, or none", () => {
  let found = 0;
  fc.assert(
    fc.property(config, fc.boolean(), (written, asJson) => {
      const text = asJson ? JSON.stringify(written) : stringify(written);
      const dirs = plainDirs(text, file, env);
      if (dirs === undefined) return;
      folder.write("supervisor.yaml", text);
      expect(dirs).toEqual(loadDirs({ file, env }).dirs);
      found += 1;
    }),
    { numRuns: 500 },
  );
  expect(found).toBeGreaterThan(50);
});

test("a reference elsewhere does not keep plainDirs() from the folders", () => {
  const text = `version: 1\nstateDir: /srv/state\nbots:\n  a:\n    command: [bun, "\${BOT}"]\n    env: { KEY: "\${KEY}" }\n    cwd: \${HOME}/a\n`;
  expect(plainDirs(text, file, env)).toEqual({
    stateDir: "/srv/state",
    runtimeDir: "/srv/state/run",
    logDir: "/srv/state/log",
  });
});

test.each([
  ["a folder is a reference", "stateDir: ${HOME}/state\nbots: {}\n"],
  ["a key stands twice", "stateDir: /a\nstateDir: /b\n"],
  ["it is not plain", "stateDir: &a /a\nlogDir: *a\n"],
  ["it is no map", "- stateDir\n"],
])("plainDirs() leaves it to the loader where %s", (_, text) => {
  expect(plainDirs(text, file, env)).toBeUndefined();
});
