/** Where the config comes from, what it becomes, and where its folders are. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { loadDirs } from "../../../src/supervisor/runtime/config/read.ts";
import { socketPathError } from "../../../src/supervisor/runtime/config/paths.ts";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

const DEFAULTS = {
  version: 1,
  stateDir: join(folder.dir, ".supervisor"),
  runtimeDir: join(folder.dir, ".supervisor/run"),
  logDir: join(folder.dir, ".supervisor/log"),
  control: {},
  emergencyFile: join(folder.dir, ".supervisor/run/emergency"),
  bots: {
    a: {
      name: "a",
      command: ["sh"],
      cwd: folder.dir,
      env: {},
      account: "a",
      after: [],
      autostart: true,
      orphans: "adopt",
      ready: "started",
      startTimeout: 30_000,
      stopSignal: "SIGTERM",
      stopTimeout: 30_000,
      restart: {
        policy: "always",
        base: 1_000,
        factor: 2,
        cap: 60_000,
        jitter: 0.1,
        resetAfter: 600_000,
        intensity: 5,
        period: 600_000,
        haltExitCodes: [78],
      },
      probes: [],
      output: { to: "file", maxSize: 100 * 1024 ** 2, keep: 30, compress: "zstd" },
      dump: {
        enabled: true,
        keep: 30,
        maxTotal: 1024 ** 3,
        maxAge: 30 * 86_400_000,
        minFree: 2 * 1024 ** 3,
        minFreeRatio: 0.05,
        stack: "auto",
      },
      emergency: {
        closeAfter: 300_000,
        onGiveUp: true,
        driver: "ccxt",
        exchange: "binanceusdm",
        apiKeyFile: join(folder.dir, "b.key"),
        apiSecretEnv: "SECRET",
        sandbox: false,
        preflight: { period: 86_400_000, jitter: 3_600_000, allowWithdraw: false },
        timeout: 300_000,
        symbols: [],
      },
    },
  },
};

describe("loadConfig()", () => {
  test("fills every default of the contract", () => {
    const { config, warnings } = folder.load(
      botWith("emergency: { exchange: binanceusdm, apiKeyFile: b.key, apiSecretEnv: SECRET }"),
    );
    expect(warnings).toEqual([]);
    expect(config).toEqual(DEFAULTS);
  });

  test("warns of a liveness probe that does not ask the bot, since it restarts nothing", () => {
    const { warnings } = folder.load(
      botWith(
        "probes:",
        "  - { kind: http, url: https://venue.example/ping }",
        "  - { kind: http, name: ready, url: https://venue.example/ping, role: readiness }",
        "  - { kind: http, name: boxed, url: http://172.17.0.2/health, upstream: false }",
      ),
    );
    expect(warnings).toEqual([
      expect.stringMatching(
        /^bot\.yaml:\d+: warning: bots\.a\.probes\.0: http does not ask the bot, so its failure never/,
      ),
    ]);
  });

  test("names probes after their kind, and fills what an unhealthy one does", () => {
    const { config } = folder.load(
      botWith(
        "probes:",
        "  - kind: heartbeat",
        "  - { kind: tcp, port: 1, role: readiness }",
        "  - { kind: tcp, name: second, port: 1, onFailure: alert }",
      ),
    );
    expect(config.bots["a"]?.probes).toMatchObject([
      { name: "heartbeat", onFailure: "restart", timeout: 60_000, failureThreshold: 1 },
      { name: "tcp", onFailure: "alert", timeout: 5_000, failureThreshold: 3 },
      { name: "second", onFailure: "alert", role: "liveness" },
    ]);
  });
});

describe("loadConfig() of a probe without a timeout", () => {
  test.each([
    ["{ kind: tcp, port: 1, period: 1s }", 800],
    ["{ kind: tcp, port: 1, period: 5s }", 4_000],
    ["{ kind: tcp, port: 1, period: 6s }", 5_000],
    ["{ kind: tcp, port: 1, period: 50ms }", 40],
    ["{ kind: heartbeat, period: 1s }", 60_000],
    ["{ kind: progress, period: 1s }", 300_000],
  ])("makes %s time out after %d ms", (probe, timeout) => {
    const text = botWith(`probes: [${probe}]`);
    expect(folder.load(text).config.bots["a"]?.probes[0]?.timeout).toBe(timeout);
  });

  test("finds the mistakes beside it as ever", () => {
    expect(() =>
      folder.load(botWith("probes: [{ kind: tcp, period: 1s }, { kind: http, url: http://x, period: 1ms }]")),
    ).toThrow(/probes\.0\.port: is missing.*probes\.1\.period: period 1ms is too short/s);
    expect(() => folder.load(botWith("probes: 3"))).toThrow(/probes/);
  });
});

describe("loadConfig() of paths", () => {
  test("resolves relative paths against the folder of the config, wherever it is started", () => {
    folder.write(
      "sub/c.yaml",
      botWith("cwd: ../work", "envFile: a.env", "probes: [{ kind: file, path: beat, maxAge: 1m }]"),
    );
    const { config, file } = loadConfig({ file: "sub/c.yaml", env: {}, cwd: folder.dir });
    expect(file).toBe(join(folder.dir, "sub/c.yaml"));
    expect(config.bots["a"]).toMatchObject({
      cwd: join(folder.dir, "work"),
      envFile: join(folder.dir, "sub/a.env"),
      probes: [{ path: join(folder.dir, "sub/beat") }],
    });
  });

  test("takes systemd's folders, the first of a list, unless the config names its own", () => {
    const env = { STATE_DIRECTORY: "/var/lib/x:/var/lib/y", RUNTIME_DIRECTORY: "/run/x", LOGS_DIRECTORY: "/var/log/x" };
    expect(folder.load(botWith(), env).dirs).toEqual({
      stateDir: "/var/lib/x",
      runtimeDir: "/run/x",
      logDir: "/var/log/x",
    });
    expect(folder.load(`stateDir: state\n${botWith()}`, env).dirs.stateDir).toBe(join(folder.dir, "state"));
    expect(folder.load(botWith(), { STATE_DIRECTORY: "/s" }).dirs).toEqual({
      stateDir: "/s",
      runtimeDir: "/s/run",
      logDir: "/s/log",
    });
  });

  test("looks at --config, then $SUPERVISOR_CONFIG, then the current folder", () => {
    const cwd = join(folder.dir, "places");
    folder.write("places/supervisor.yaml", botWith());
    folder.write("places/env.yaml", botWith());
    folder.write("places/own.yaml", botWith());
    const env = { SUPERVISOR_CONFIG: "env.yaml" };
    expect(loadConfig({ file: "own.yaml", env, cwd }).shown).toBe("own.yaml");
    expect(loadConfig({ env, cwd }).shown).toBe("env.yaml");
    expect(loadConfig({ env: { SUPERVISOR_CONFIG: "" }, cwd }).shown).toBe("supervisor.yaml");
    expect(() => loadConfig({ env: { SUPERVISOR_CONFIG: "gone.yaml" }, cwd })).toThrow(
      'cannot use config gone.yaml (from $SUPERVISOR_CONFIG): there is no such file; write one with "supervisor config init gone.yaml"',
    );
  });

  test("names the places it looked at when there is no config", () => {
    const cwd = join(folder.dir, "empty");
    mkdirSync(cwd);
    expect(() => loadConfig({ env: {}, cwd })).toThrow(
      `cannot find a config: --config and $SUPERVISOR_CONFIG are not given, and neither ${cwd}/supervisor.yaml nor ` +
        `/etc/tradingbot/supervisor.yaml exists; write one with "supervisor config init"`,
    );
  });
});

describe("loadConfig() of what is allowed", () => {
  test("warns of a close that comes before the start may be over, and of a key sent in clear", () => {
    const section =
      "emergency: { exchange: binance, apiKeyEnv: K, apiSecretEnv: S, closeAfter: 30s, endpoint: http://proxy }";
    expect(folder.load(botWith("ready: notify", section)).warnings).toEqual([
      "bot.yaml:6: warning: bots.a.emergency.closeAfter: 30s is not longer than startTimeout 30s; one slow start closes the positions",
      "bot.yaml:6: warning: bots.a.emergency.endpoint: the API key travels unencrypted over http; use https",
    ]);
    expect(folder.load(botWith(section.replace("//proxy", "//127.0.0.1:9"))).warnings).toEqual([]);
  });

  test("lets bots share what an anchor holds", () => {
    const { config } = folder.load(
      "version: 1\nbots:\n  a: { command: &c [x, y], restart: &r { cap: 5m } }\n  b: { command: *c, restart: *r }\n",
    );
    expect(config.bots["b"]).toMatchObject({ command: ["x", "y"], restart: { cap: 300_000 } });
  });
});

describe("loadDirs()", () => {
  test("finds the folders of a config that the schema refuses", () => {
    folder.write("wrong.yaml", "runtimeDir: /run/${NAME}\nbots: 5\n");
    expect(loadDirs({ file: "wrong.yaml", env: { NAME: "x" }, cwd: folder.dir }).dirs.runtimeDir).toBe("/run/x");
  });

  test("does not guess a folder whose name is not known", () => {
    folder.write("wrong.yaml", "runtimeDir: /run/${NAME}\n");
    expect(() => loadDirs({ file: "wrong.yaml", env: {}, cwd: folder.dir })).toThrow("NAME is not set");
  });
});

describe("socketPathError()", () => {
  test("allows 107 bytes and refuses 108", () => {
    const longest = `/${"r".repeat(107 - "//bots/momentum.notify".length)}`;
    expect(socketPathError(longest, ["momentum"])).toBeUndefined();
    expect(socketPathError(`${longest}r`, ["momentum", "a"])).toMatch(
      /momentum\.notify has 108 bytes and may have 107; set runtimeDir/,
    );
  });
});
