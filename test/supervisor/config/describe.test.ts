/** The config in force, as `config show` prints it. */
import { describe, expect, test } from "vitest";
import { describeConfig } from "../../../src/supervisor/runtime/config/describe.ts";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

describe("describeConfig()", () => {
  const text = botWith(
    "env: { TOKEN: hunter2 }",
    "probes:",
    "  - { kind: http, url: http://u:hunter2@x/, headers: { Authorization: hunter2 } }",
    "  - { kind: resources, maxRss: 1536MiB, maxCpu: 180%, for: 90s }",
    "emergency: { exchange: binance, apiKeyFile: k, apiSecretEnv: S, endpoint: http://u:hunter2@127.0.0.1 }",
  );

  test("spells durations, sizes and shares as the config does, kind first", () => {
    const lines = describeConfig(folder.load(text).config);
    expect(lines).toContain("stopTimeout: 30s");
    expect(lines).toContain("initialDelay: 0s");
    expect(lines).toContain("for: 90s");
    expect(lines).toContain("maxRss: 1536MiB");
    expect(lines).toContain("maxCpu: 180%");
    expect(lines).toContain("- kind: resources\n        name: resources\n");
  });

  test("shows no secret, but the names of their files", () => {
    const lines = describeConfig(folder.load(text).config);
    expect(lines).not.toContain("hunter2");
    expect(lines).toContain('TOKEN: "***"');
    expect(lines).toContain("url: http://***@x/");
    expect(lines).toContain(`apiKeyFile: ${folder.dir}/k`);
    expect(lines).toContain("apiSecretEnv: S");
  });

  test("is a config again, with the same meaning", () => {
    const plain = botWith("restart: { cap: 5m }", "probes: [{ kind: tcp, port: 1 }]");
    const { config } = folder.load(plain);
    expect(folder.load(describeConfig(config)).config).toEqual(config);
  });
});
