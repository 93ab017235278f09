/** Commands that a text proposes: for who has named a config file each works as it stands. */
import { Command } from "commander";
import { expect, test } from "vitest";
import { completeCommands, configNamedIn } from "../../../src/supervisor/cli/proposals.ts";
import { verbs } from "../../../src/supervisor/cli/verbs.ts";
import { VerbRig } from "./verb-rig.ts";

test.each([
  ["see: supervisor status momentum", "see: supervisor status --config my.yaml momentum"],
  ["supervisor arm my-bot --reason TEXT", "supervisor arm --config my.yaml my-bot --reason TEXT"],
  ["start it with: supervisor run", "start it with: supervisor run --config my.yaml"],
  ["supervisor emergency plan b shows it", "supervisor emergency plan --config my.yaml b shows it"],
  [
    "supervisor backup list, supervisor doctor",
    "supervisor backup list --config my.yaml, supervisor doctor --config my.yaml",
  ],
  ["supervisor config init and the supervisor itself", "supervisor config init and the supervisor itself"],
  ["one supervisor runs it, the supervisor's lock", "one supervisor runs it, the supervisor's lock"],
])("completeCommands() of %j is %j", (text, whole) => {
  expect(completeCommands(text, "my.yaml")).toBe(whole);
  expect(completeCommands(text, undefined)).toBe(text);
});

test("completeCommands() gives a file's name as a shell takes it for one word", () => {
  expect(completeCommands("supervisor stop b", "it's.yaml")).toBe("supervisor stop --config 'it'\\''s.yaml' b");
});

test("completeCommands() knows every command that takes --config, and no other", async () => {
  const io = {
    out: () => {},
    err: () => {},
    env: {},
    cwd: "/",
    isTerminal: false,
    colour: false,
    setExitCode: () => {},
  };
  for (const { name, hidden, load } of verbs) {
    if (hidden === true) continue;
    const command = new Command(name);
    // oxlint-disable-next-line no-await-in-loop -- Safe: one verb after the other.
    (await load()).command.configure(command, io);
    const all = command.commands.length === 0 ? [command] : command.commands;
    for (const each of all) {
      const typed = `supervisor ${name}${each === command ? "" : ` ${each.name()}`}`;
      const takes = each.options.some(({ long }) => long === "--config");
      expect(completeCommands(typed, "f")).toBe(takes ? `${typed} --config f` : typed);
    }
  }
});

test.each([
  [["status", "bot"], undefined],
  [["status", "-c", "a.yaml", "bot"], "a.yaml"],
  [["status", "--config", "a.yaml"], "a.yaml"],
  [["status", "--config=a.yaml"], "a.yaml"],
  [["status", "-ca.yaml"], "a.yaml"],
  [["status", "--config"], undefined],
])("configNamedIn(%j) is %s", (args, file) => {
  expect(configNamedIn(args)).toBe(file);
});

test("a hint of the daemon proposes its command with the config that was named", async () => {
  await using rig = new VerbRig();
  rig.serve(() =>
    Response.json(
      {
        error: {
          code: "locked",
          message: "cannot start mine: locked",
          hint: "then: supervisor arm mine --reason TEXT",
        },
      },
      { status: 409 },
    ),
  );
  const main = new URL("../../../src/supervisor/main.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, main, "start", "mine", "--config", `${rig.dir}/supervisor.yaml`], {
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir },
    stdio: ["ignore", "ignore", "pipe"],
  });
  expect(await child.stderr.text()).toBe(
    `cannot start mine: locked\nhint: then: supervisor arm --config ${rig.dir}/supervisor.yaml mine --reason TEXT\n`,
  );
  expect(await child.exited).toBe(1);
});
