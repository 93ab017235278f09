/** Config of several bots: their order, where their output goes; and the variables that stand in where the config is silent. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

describe("after", () => {
  test("names bots of the config in an order that is one; all mistakes show at once, with their lines", () => {
    const text = [
      "version: 1",
      "bots:",
      "  a: { command: [sh], after: [b, nobody] }",
      "  b:",
      "    command: [sh]",
      "    after:",
      "      - a",
      "      - b",
      "",
    ].join("\n");
    expect(folder.mistakes(text)).toEqual([
      'bot.yaml:3: bots.a.after.1: "nobody" is not a bot of this config; correct the name or remove it (the other bots are b)',
      "bot.yaml:7: bots.b.after.0: closes a circle, a after b after a: none could start first; remove one of these",
      'bot.yaml:8: bots.b.after.1: "b" is this bot itself; remove it',
    ]);
  });
});

describe("output.to", () => {
  test.each(["journal", "inherit"])("%s refuses the keys of the log file, each where it stands", (to) => {
    expect(folder.mistakes(botWith("output:", `  to: ${to}`, "  maxSize: 1MiB", "  keep: 3"))).toEqual([
      `bot.yaml:7: bots.a.output.maxSize: belongs to the log file, which "to: ${to}" does not write; remove it, or write to: file`,
      `bot.yaml:8: bots.a.output.keep: belongs to the log file, which "to: ${to}" does not write; remove it, or write to: file`,
    ]);
    expect(folder.load(botWith(`output: { to: ${to} }`)).config.bots["a"]?.output.to).toBe(to);
  });

  test("is file by default, and file takes them all", () => {
    expect(folder.load(botWith()).config.bots["a"]?.output.to).toBe("file");
    expect(
      folder.mistakes(botWith("output: { to: file, maxSize: 1MiB, maxAge: 1d, keep: 3, compress: none }")),
    ).toEqual([]);
  });
});

describe("LOG_FILE", () => {
  test("is the log file where the config names none, from the folder of the config", () => {
    const env = { LOG_FILE: "own.log" };
    expect(folder.load(botWith(), env).config.logFile).toBe(join(folder.dir, "own.log"));
    expect(folder.load(`logFile: theirs.log\n${botWith()}`, env).config.logFile).toBe(join(folder.dir, "theirs.log"));
    expect(folder.load(botWith(), { LOG_FILE: "" }).config.logFile).toBeUndefined();
  });

  test("must not be the output of a bot", () => {
    const path = join(folder.dir, ".supervisor/log/a.log");
    const message = `${path} holds the output of the bot "a"; name another file`;
    expect(folder.mistakes(botWith(), { LOG_FILE: path })).toEqual([
      `bot.yaml:1: logFile: ${message} (from $LOG_FILE)`,
    ]);
    expect(folder.mistakes(`logFile: ${path}\n${botWith()}`)).toEqual([`bot.yaml:1: logFile: ${message}`]);
  });

  test("in a folder that cannot be made is a warning", () => {
    const loaded = folder.load(`logFile: bot.yaml/own.log\n${botWith()}`);
    expect(checkEnvironment(loaded).some((line) => line.includes("logFile: cannot write to "))).toBe(true);
  });
});

test("emergencyFile must be no file that is there for another reason", () => {
  const wrong = (head: string, path: string, what: string, line = 1): void => {
    const message = `${path} ${what}, and would close every bot; name a file that nothing else makes`;
    expect(folder.mistakes(`${head}${botWith()}`)).toEqual([`bot.yaml:${line}: emergencyFile: ${message}`]);
  };
  const output = join(folder.dir, ".supervisor/log/a.log");
  wrong(`emergencyFile: ${output}\n`, output, 'holds the output of the bot "a"');
  wrong("emergencyFile: bot.yaml\n", join(folder.dir, "bot.yaml"), "is this config");
  wrong("logFile: own.log\nemergencyFile: ./own.log\n", join(folder.dir, "own.log"), "is the logFile", 2);
  expect(folder.mistakes(`logFile: own.log\nemergencyFile: close-all\n${botWith()}`)).toEqual([]);
});

/** The address of `http` in a config that begins with `head`. */
function listen(env: Readonly<Record<string, string>>, head = ""): string | undefined {
  return folder.load(head + botWith(), env).config.http?.listen;
}

describe("API_HOST and API_PORT", () => {
  test("are the address of http where the config names none; one alone has the usual other", () => {
    expect(listen({})).toBeUndefined();
    expect(listen({ API_HOST: "127.0.0.2", API_PORT: "9000" })).toBe("127.0.0.2:9000");
    expect(listen({ API_PORT: "9000" })).toBe("127.0.0.1:9000");
    expect(listen({ API_HOST: "::1" })).toBe("[::1]:8001");
    expect(listen({ API_PORT: "9000" }, "http: { listen: 127.0.0.1:1 }\n")).toBe("127.0.0.1:1");
  });

  test("complete an http section that has only auth", () => {
    const { http } = folder.load(`http: { auth: { username: ops, passwordFile: pw } }\n${botWith()}`, {
      API_HOST: "0.0.0.0",
      API_PORT: "8000",
    }).config;
    expect(http).toEqual({
      listen: "0.0.0.0:8000",
      auth: { username: "ops", passwordFile: join(folder.dir, "pw") },
    });
  });

  test("are held to the rules of the config, and named in its errors", () => {
    const [open] = folder.mistakes(botWith(), { API_HOST: "0.0.0.0" });
    expect(open).toMatch(
      /^bot\.yaml:1: http\.listen: "0\.0\.0\.0:8001" can be reached .* \(from \$API_HOST and \$API_PORT\)$/,
    );
    const [bad] = folder.mistakes(botWith(), { API_PORT: "http" });
    expect(bad).toMatch(
      /^bot\.yaml:1: http\.listen: "127\.0\.0\.1:http" is not .* \(from \$API_HOST and \$API_PORT\)$/,
    );
  });
});
