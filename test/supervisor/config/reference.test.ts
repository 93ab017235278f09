/** What is generated from the schema is current, and the schema explains itself. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { exchangeIdsSource } from "../../../scripts/generate-exchanges.ts";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { configField, type Field } from "../../../src/supervisor/runtime/config/fields.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { configJsonSchema, configReferenceMarkdown } from "../../../src/supervisor/runtime/config/reference.ts";
import { starterConfig } from "../../../src/supervisor/runtime/config/starter.ts";
import { scratchFolder } from "./folder.ts";

const root = join(import.meta.dirname, "../../..");
const folder = scratchFolder();
const read = (file: string): string => readFileSync(join(root, file), "utf8");

/** Every field of the schema by its path, containers included. */
function* walk(field: Field, path = ""): Generator<[string, Field]> {
  yield [path, field];
  for (const [key, child] of Object.entries(field.properties ?? {})) yield* walk(child, `${path}.${key}`);
  if (field.items !== undefined) yield* walk(field.items, `${path}[]`);
  for (const option of field.oneOf ?? []) yield* walk(option, `${path}<${String(option.properties?.["kind"]?.const)}>`);
  if (field.additionalProperties !== undefined && field.additionalProperties !== false)
    yield* walk(field.additionalProperties, `${path}.*`);
}

describe("configSchema", () => {
  test("describes every field that has a name", () => {
    const silent = [...walk(configField())].filter(
      ([path, field]) => /\w$/.test(path) && field.description === undefined,
    );
    expect(silent.map(([path]) => path)).toEqual([]);
    expect([...walk(configField())].length).toBeGreaterThan(100);
  });

  test("refuses unknown keys in every object", () => {
    const open = [...walk(configField())].filter(
      ([, field]) => field.properties !== undefined && field.additionalProperties !== false,
    );
    expect(open.map(([path]) => path)).toEqual([]);
  });
});

describe("generated files", () => {
  test("config/supervisor.schema.json is current", () => {
    expect(JSON.parse(read("config/supervisor.schema.json"))).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
  });

  test("docs/config.md is current", () => {
    expect(read("docs/config.md")).toBe(configReferenceMarkdown());
  });

  test("src/core/exchange-ids.ts is current", () => {
    expect(read("src/core/exchange-ids.ts")).toBe(exchangeIdsSource());
  });
});

describe("configReferenceMarkdown()", () => {
  test("has a row for every key", () => {
    const page = configReferenceMarkdown();
    const keys = [...walk(configField())].flatMap(([path]) => /\.(\w+)$/.exec(path)?.[1] ?? []);
    expect(keys.filter((key) => !page.includes(`| \`${key}\``))).toEqual([]);
  });
});

describe("starterConfig()", () => {
  test("passes config check as it is", () => {
    expect(checkEnvironment(folder.load(starterConfig()))).toEqual([]);
  });

  test("passes when its commented lines are put in force", () => {
    folder.write("exchange.key", "k");
    folder.write("exchange.secret", "s");
    folder.write("counter.env", "A=1\n");
    const optional = starterConfig()
      .replaceAll(/^( *)# (?=( *- kind|  \w+:|\w+:))/gm, "$1")
      .replace("cwd: /opt/counter", "cwd: .")
      .replaceAll(/^( *)(supervisor|Durations|Paths|state).*$/gim, "");
    const { config } = folder.load(optional);
    expect(config.bots["counter"]).toMatchObject({
      env: { LOG_LEVEL: "info" },
      emergency: { exchange: "binanceusdm" },
    });
    expect(config.bots["counter"]?.probes).toHaveLength(4);
  });
});

describe("config/supervisor.example.yaml", () => {
  test("passes config check", () => {
    const env = { BINANCE_KEY: "k", BINANCE_SECRET: "s" };
    const loaded = loadConfig({ file: "config/supervisor.example.yaml", env, cwd: root });
    expect(checkEnvironment(loaded)).toEqual([]);
  });

  test("mentions every key", () => {
    const example = read("config/supervisor.example.yaml");
    const keys = [...walk(configField())].flatMap(([path]) => /\.(\w+)$/.exec(path)?.[1] ?? []);
    expect(keys.filter((key) => !new RegExp(`\\b${key}\\b`).test(example))).toEqual([]);
  });

  test("says the defaults that the schema has", () => {
    const env = { BINANCE_KEY: "k", BINANCE_SECRET: "s" };
    const { config } = loadConfig({ file: "config/supervisor.example.yaml", env, cwd: root });
    const bare = folder.load(
      "version: 1\nbots: { momentum: { command: [x], emergency: { exchange: binanceusdm, apiKeyEnv: K, apiSecretEnv: S } } }\n",
    ).config;
    const {
      command: _c,
      cwd: _d,
      env: _e,
      account: _a,
      probes: _p,
      limits: _l,
      emergency,
      ...said
    } = config.bots["momentum"] ?? {};
    expect(bare.bots["momentum"]).toMatchObject(said);
    expect(bare.bots["momentum"]?.emergency).toMatchObject({ ...emergency, apiKeyEnv: "K", apiSecretEnv: "S" });
  });
});
