/** Which bots may have one key: those whose closes never meet. */
import { describe, expect, test } from "vitest";
import { closesSame } from "../../../src/supervisor/runtime/config/one-key.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();

const said = (n: number): string =>
  `bots "bot0" and "bot${n}" have one key, and so one account: the emergency of one would close what the other trades; give each the key of an account of its own, or both symbols of their own and, where the venue has one dead-man switch for the account, none of it`;

describe("closesSame()", () => {
  test.each([
    ["the same contracts", { exchange: "okx" }, { exchange: "okx" }],
    ["the contracts of one venue under two names", { exchange: "binance" }, { exchange: "binanceusdm" }],
    [
      "the same contracts, once beside a spot wallet",
      { exchange: "okx" },
      { exchange: "okx", spot: { derivatives: true } },
    ],
    ["a whole account and a part of it", { exchange: "okx" }, { exchange: "okx", symbols: ["BTC/USDT:USDT"] }],
    [
      "parts that overlap",
      { exchange: "okx", symbols: ["A/USDT:USDT", "B/USDT:USDT"] },
      { exchange: "okx", symbols: ["B/USDT:USDT"] },
    ],
    [
      "one wallet of margin",
      { exchange: "binance", margin: { mode: "cross" } },
      { exchange: "binance", margin: { mode: "cross" } },
    ],
    [
      "parts of an account whose venue has one dead-man switch",
      { exchange: "okx", symbols: ["A/USDT:USDT"], deadman: { timeout: 60_000 } },
      { exchange: "okx", symbols: ["B/USDT:USDT"] },
    ],
    ["a default that one of them spells out", { exchange: "okx" }, { exchange: "okx", sandbox: false }],
  ])("tells that closes meet: %s", (_, one, other) => {
    expect([closesSame(one, other), closesSame(other, one)]).toEqual([true, true]);
  });

  test.each([
    [
      "parts, with a dead-man switch for each symbol",
      { exchange: "binanceusdm", symbols: ["A/USDT:USDT"], deadman: { timeout: 60_000 } },
      { exchange: "binanceusdm", symbols: ["B/USDT:USDT"] },
    ],
    ["spot and contracts", { exchange: "okx" }, { exchange: "okx", spot: {} }],
    ["spot and margin", { exchange: "binance", spot: {} }, { exchange: "binance", margin: { mode: "cross" } }],
    ["two venues", { exchange: "okx" }, { exchange: "bybit" }],
    ["the venue and its test network", { exchange: "okx" }, { exchange: "okx", sandbox: true }],
    ["two addresses", { exchange: "okx", endpoint: "http://127.0.0.1:1" }, { exchange: "okx" }],
    [
      "parts without overlap",
      { exchange: "okx", symbols: ["A/USDT:USDT"] },
      { exchange: "okx", symbols: ["B/USDT:USDT"] },
    ],
    ["programs in the place of ccxt", { exchange: undefined }, { exchange: undefined }],
  ])("tells that closes never meet: %s", (_, one, other) => {
    expect([closesSame(one, other), closesSame(other, one)]).toEqual([false, false]);
  });
});

describe("checkEnvironment()", () => {
  test("refuses one key for two bots, whether it comes from one file, two, or a variable", () => {
    for (const [name, text] of [
      ["one.key", "the key\n"],
      ["two.key", "the key"],
      ["secret", "s"],
    ] as const)
      folder.write(name, text);
    const keys = ["apiKeyFile: one.key", "apiKeyFile: one.key", "apiKeyFile: two.key", "apiKeyEnv: KEY"];
    const bots = keys.map(
      (key, n) => `  bot${n}: { command: [sh], emergency: { exchange: binanceusdm, ${key}, apiSecretFile: secret } }`,
    );
    const text = ["version: 1", "bots:", ...bots, ""].join("\n");
    expect(folder.lacks(text, { KEY: "the key" })).toEqual([
      `bot.yaml:4: bots.bot1.emergency.apiKeyFile: ${said(1)}`,
      `bot.yaml:5: bots.bot2.emergency.apiKeyFile: ${said(2)}`,
      `bot.yaml:6: bots.bot3.emergency.apiKeyEnv: ${said(3)}`,
    ]);
    expect(folder.lacks(text.replace(bots[1] ?? "", "").replace("two.key", "secret"), { KEY: "another" })).toEqual([]);
  });
});
