/** What the machine lacks, with the exact message. */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const at = (name: string): string => join(folder.dir, name);

const emergency = (key: string): string => `emergency: { exchange: binance, ${key}, apiSecretFile: good.key }`;
folder.write("good.key", "k\n");

describe("checkEnvironment()", () => {
  test("finds nothing wrong with what is there", () => {
    folder.write("a.env", "A=1\n");
    const text = botWith("envFile: a.env", emergency("apiKeyEnv: KEY"));
    expect(checkEnvironment(folder.load(text, { KEY: "k" }))).toEqual([]);
  });

  test("warns of a program that a start would not find, of the bot, its hooks and its probes", () => {
    const text = botWith("preStop: [./absent.sh]", "probes:", "  - { kind: exec, command: [nosuchprogram] }").replace(
      "[sh]",
      "[also-absent]",
    );
    const warnings = checkEnvironment(folder.load(text, { PATH: "/bin" }));
    expect(warnings).toEqual([
      expect.stringContaining('bots.a.command: cannot start "also-absent": not found in PATH'),
      expect.stringContaining("bots.a.preStop: cannot start ./absent.sh"),
      expect.stringContaining('bots.a.probes.0.command: cannot start "nosuchprogram"'),
    ]);
  });

  test("warns of each bot that lacks what another one lacks, and of no bot that has it in a PATH of its own", () => {
    const bots = ["a: { command: [nosuch] }", "b: { command: [nosuch] }", "c: { command: [nosuch], env: { PATH: . } }"];
    folder.write("nosuch", "#!/bin/sh\n");
    chmodSync(at("nosuch"), 0o755);
    const text = ["version: 1", "bots:", ...bots.map((bot) => `  ${bot}`), ""].join("\n");
    expect(checkEnvironment(folder.load(text, { PATH: "/bin" }))).toEqual([
      expect.stringContaining('bots.a.command: cannot start "nosuch"'),
      expect.stringContaining('bots.b.command: cannot start "nosuch"'),
    ]);
  });

  test("refuses a key file that is missing, empty, a folder or beside its place", () => {
    mkdirSync(at("folder.key"), { recursive: true });
    folder.write("empty.key", " \n");
    expect(folder.lacks(botWith(emergency("apiKeyFile: no.key")))).toEqual([
      `bot.yaml:5: bots.a.emergency.apiKeyFile: cannot read ${at("no.key")}: there is no such file; create it with mode 0600`,
    ]);
    expect(folder.lacks(botWith(emergency("apiKeyFile: empty.key")))).toEqual([
      `bot.yaml:5: bots.a.emergency.apiKeyFile: ${at("empty.key")} is empty; write the key into it`,
    ]);
    expect(folder.lacks(botWith(emergency("apiKeyFile: folder.key")))).toEqual([
      `bot.yaml:5: bots.a.emergency.apiKeyFile: cannot read ${at("folder.key")}: it is not a regular file; create it with mode 0600`,
    ]);
    expect(folder.lacks(botWith(emergency("apiKeyFile: good.key/x")))).toEqual([
      `bot.yaml:5: bots.a.emergency.apiKeyFile: cannot read ${at("good.key/x")}: a part of the path is not a folder; create it with mode 0600`,
    ]);
  });

  test("refuses a key variable that is not set", () => {
    expect(folder.lacks(botWith(emergency("apiKeyEnv: KEY")), { KEY: "" })).toEqual([
      "bot.yaml:5: bots.a.emergency.apiKeyEnv: the environment variable KEY is not set; set it for the supervisor, or use apiKeyFile",
    ]);
  });

  test("warns of a key file that others may read", () => {
    const file = folder.write("open.key", "k\n");
    chmodSync(file, 0o640);
    expect(checkEnvironment(folder.load(botWith(emergency("apiKeyFile: open.key"))))).toEqual([
      `bot.yaml:5: warning: bots.a.emergency.apiKeyFile: ${file} is open to others (mode 0640); run: chmod 600 ${file}`,
    ]);
  });
});

describe("checkEnvironment() of what a bot needs", () => {
  test("refuses an envFile that is missing or not understood", () => {
    expect(folder.lacks(botWith("envFile: no.env"))).toEqual([
      `bot.yaml:5: bots.a.envFile: cannot read ${at("no.env")}: there is no such file; create it, or remove envFile`,
    ]);
    folder.write("bad.env", "A=1\nexport B=2\nC='\nNOTIFY_SOCKET=x\n");
    expect(folder.lacks(botWith("envFile: bad.env"))).toEqual([
      `bot.yaml:5: bots.a.envFile: cannot use ${at("bad.env")}: line 2: the line is not NAME=VALUE; correct it`,
      `bot.yaml:5: bots.a.envFile: cannot use ${at("bad.env")}: line 3: a quote in the value of C is not closed; correct it`,
    ]);
    folder.write("own.env", "NOTIFY_SOCKET=x\n");
    expect(folder.lacks(botWith("envFile: own.env"))).toEqual([
      `bot.yaml:5: bots.a.envFile: cannot use ${at("own.env")}: the supervisor sets NOTIFY_SOCKET itself; remove its line`,
    ]);
  });

  test("refuses a cwd that is no folder", () => {
    expect(folder.lacks(botWith("cwd: gone"))).toEqual([
      `bot.yaml:5: bots.a.cwd: cannot use ${at("gone")}: it does not exist; create it or correct cwd`,
    ]);
    expect(folder.lacks(botWith("cwd: good.key"))).toEqual([
      `bot.yaml:5: bots.a.cwd: cannot use ${at("good.key")}: it is not a folder; create it or correct cwd`,
    ]);
  });

  test("refuses a user and a group that do not exist", () => {
    expect(folder.lacks(`control: { group: nogroup-here }\n${botWith("user: nobody-here")}`)).toEqual([
      'bot.yaml:1: control.group: this machine has no group "nogroup-here"; create it or correct the name',
      'bot.yaml:6: bots.a.user: this machine has no user "nobody-here"; create it or correct the name',
    ]);
  });

  test("lets only root start a bot as another user", () => {
    const expected =
      process.getuid?.() === 0
        ? []
        : [
            'bot.yaml:5: bots.a.user: only root may start a bot as "root"; run the supervisor as root or as that user, or remove user',
          ];
    expect(folder.lacks(botWith("user: root"))).toEqual(expected);
  });

  test("refuses a state folder that cannot be made", () => {
    expect(folder.lacks(`stateDir: good.key/state\n${botWith()}`)).toEqual([
      `bot.yaml:1: stateDir: cannot write to ${at("good.key/state")}: ${at("good.key")}: it is not a folder; set stateDir to a folder that this user may write`,
    ]);
    expect(folder.lacks(`${botWith()}logDir: good.key\n`)).toEqual([
      `bot.yaml:5: logDir: cannot write to ${at("good.key")}: it is not a folder; set logDir to a folder that this user may write`,
    ]);
  });

  test("creates nothing", () => {
    checkEnvironment(folder.load(`stateDir: fresh/state\n${botWith()}`));
    expect(() => chmodSync(at("fresh"), 0o700)).toThrow("ENOENT");
  });
});
