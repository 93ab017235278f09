/** The sections http and metrics: what is refused, and with which words. */
import { describe, expect, test } from "vitest";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { describeConfig } from "../../../src/supervisor/runtime/config/describe.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const withSections = (...lines: string[]): string =>
  ["version: 1", "bots: { a: { command: [sh] } }", ...lines, ""].join("\n");
const AUTH = "auth: { username: ops, passwordFile: web.password }";
const publicAddress = (listen: string, port: number): string =>
  `"${listen}" can be reached from other machines, and there is no auth; write 127.0.0.1:${port}, or add auth: { username: NAME, passwordFile: FILE }`;

const rows: readonly (readonly [string, string, readonly string[]])[] = [
  ["every address without auth", "http: { listen: :8001 }", [`3: http.listen: ${publicAddress(":8001", 8001)}`]],
  [
    "0.0.0.0 without auth",
    "metrics: { listen: 0.0.0.0:80 }",
    [`3: metrics.listen: ${publicAddress("0.0.0.0:80", 80)}`],
  ],
  [
    "an address of the network without auth",
    "http: { listen: 10.0.0.7:1 }",
    [`3: http.listen: ${publicAddress("10.0.0.7:1", 1)}`],
  ],
  [
    "every IPv6 address without auth",
    'http: { listen: "[::]:8001" }',
    [`3: http.listen: ${publicAddress("[::]:8001", 8001)}`],
  ],
  ["a port alone", "http: { listen: 8001 }", ['3: http.listen: 8001 is not text; put it in quotes: "8001"']],
  [
    "a host name",
    "http: { listen: example.org:8001 }",
    [
      '3: http.listen: "example.org:8001" is not an address to listen on; write it as 127.0.0.1:8001, "[::1]:8001" or :8001 (every address)',
    ],
  ],
  ["no address", "http: {}", [expect.stringMatching(/^3: http\.listen: is missing; add it/)]],
  [
    "one address for both",
    "http: { listen: 127.0.0.1:8001 }\nmetrics: { listen: 127.0.0.1:8001 }",
    ['4: metrics.listen: "127.0.0.1:8001" is also the address of http; give metrics another port'],
  ],
  [
    "a password in the config",
    "http: { listen: 127.0.0.1:8001, auth: { username: ops, passwordFile: f, password: hunter2 } }",
    [
      "3: http.auth.password: a secret does not belong in this file; write it into one of its own and name that with passwordFile",
    ],
  ],
  [
    "a user name with a colon",
    "http: { listen: 127.0.0.1:8001, auth: { username: 'o:ps', passwordFile: f } }",
    [expect.stringMatching(/^3: http\.auth\.username: .*a colon cannot stand in a user name/)],
  ],
];

describe("loadConfig()", () => {
  test.each(rows)("refuses %s", (_, lines, mistakes) => {
    expect(folder.mistakes(withSections(lines)).map((line) => line.replace("bot.yaml:", ""))).toEqual(mistakes);
  });

  test.each(["127.0.0.1:8001", "127.0.0.2:0", "localhost:8001", "[::1]:8001"])("takes %s without auth", (listen) => {
    const { config, warnings } = folder.load(withSections(`http: { listen: "${listen}" }`));
    expect(config.http).toEqual({ listen });
    expect(warnings).toEqual([]);
  });

  test("takes a public address with auth, makes the path absolute, and warns of what travels in clear", () => {
    const { config, warnings } = folder.load(withSections(`metrics: { listen: :8000, ${AUTH} }`));
    expect(config.metrics).toEqual({
      listen: ":8000",
      auth: { username: "ops", passwordFile: `${folder.dir}/web.password` },
    });
    expect(warnings).toEqual([
      "bot.yaml:3: warning: metrics.listen: the password travels unencrypted; listen on 127.0.0.1 behind a proxy that speaks TLS",
    ]);
  });

  test("lets the kernel pick both ports", () => {
    expect(folder.mistakes(withSections("http: { listen: 127.0.0.1:0 }\nmetrics: { listen: 127.0.0.1:0 }"))).toEqual(
      [],
    );
  });
});

describe("checkEnvironment()", () => {
  const text = withSections(`http: { listen: 127.0.0.1:8001, ${AUTH.replace("web", "$")} }`);
  const using = (name: string): string => text.replace("$", name);

  test("refuses a password file that is not there, and an empty one", () => {
    expect(folder.lacks(using("lost"))).toEqual([
      `bot.yaml:3: http.auth.passwordFile: cannot read ${folder.dir}/lost.password: there is no such file; create it with mode 0600`,
    ]);
    folder.write("empty.password", "\n");
    expect(folder.lacks(using("empty"))).toEqual([
      `bot.yaml:3: http.auth.passwordFile: ${folder.dir}/empty.password is empty; write the password into it`,
    ]);
  });

  test("warns of a password file that others may read", () => {
    const path = folder.write("shared.password", "x", 0o644);
    expect(checkEnvironment(folder.load(using("shared")))).toEqual([
      `bot.yaml:3: warning: http.auth.passwordFile: ${path} is open to others (mode 0644); run: chmod 600 ${path}`,
    ]);
  });
});

test("describeConfig() shows both sections as they are written", () => {
  const { config } = folder.load(withSections(`http: { listen: :8001, ${AUTH} }\nmetrics: { listen: "[::1]:8000" }`));
  const shown = describeConfig(config);
  expect(shown).toContain(
    `http:\n  listen: :8001\n  auth:\n    username: ops\n    passwordFile: ${folder.dir}/web.password\n`,
  );
  expect(shown).toContain('metrics:\n  listen: "[::1]:8000"\n');
});
