/** Every class of mistake in a bot's emergency section, with the exact message. */
import { describe, expect, test } from "vitest";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

/** Lines of the bot `a`, which begin on line 5, and what is said about them. */
const inEmergency: readonly (readonly [name: string, lines: readonly string[], messages: readonly string[]])[] = [
  [
    "an emergency section without key and secret",
    ["emergency: { exchange: binance }"],
    [
      "5: bots.a.emergency: cannot close positions without the API key; add apiKeyFile: FILE or apiKeyEnv: NAME",
      "5: bots.a.emergency: cannot close positions without the API secret; add apiSecretFile: FILE or apiSecretEnv: NAME",
    ],
  ],
  [
    "a venue whose keys have a passphrase, without it",
    ["emergency: { exchange: okx, apiKeyFile: k, apiSecretFile: s }"],
    ["5: bots.a.emergency: okx refuses a key without its passphrase; add passphraseFile: FILE or passphraseEnv: NAME"],
  ],
  [
    "a key from two places",
    ["emergency: { exchange: binance, apiKeyFile: k, apiKeyEnv: K, apiSecretFile: s }"],
    ["5: bots.a.emergency.apiKeyEnv: stands beside apiKeyFile; keep one of the two"],
  ],
  [
    "a secret in the file",
    ["emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, apiSecret: hunter2 }"],
    [
      "5: bots.a.emergency.apiSecret: a secret does not belong in this file; write it into one of its own and name that with apiSecretFile",
    ],
  ],
  [
    "a key in place of a variable's name, which is never shown",
    ["emergency: { exchange: binance, apiKeyEnv: 4f-hunter2, apiSecretFile: s }"],
    [
      "5: bots.a.emergency.apiKeyEnv: the value (hidden): a variable name is letters, digits and underscores, not beginning with a digit",
    ],
  ],
  [
    "an exchange that ccxt does not have, near one that it has",
    ["emergency: { exchange: binancusdm, apiKeyFile: k, apiSecretFile: s }"],
    ['5: bots.a.emergency.exchange: "binancusdm" is not an exchange that ccxt knows; did you mean binanceusdm?'],
  ],
  [
    "an exchange that ccxt does not have, near none",
    ["emergency: { exchange: mtgox, apiKeyFile: k, apiSecretFile: s }"],
    [
      '5: bots.a.emergency.exchange: "mtgox" is not an exchange that ccxt knows; write its ccxt id, for example binanceusdm',
    ],
  ],
  [
    "an endpoint that is not http",
    ["emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, endpoint: ftp://u:pw@x }"],
    ['5: bots.a.emergency.endpoint: "ftp://***@x" is not an address; write it as https://HOST or http://HOST:PORT'],
  ],
  [
    "a section of limits that names none",
    ["emergency: { exchange: okx, apiKeyFile: k, apiSecretFile: s, passphraseFile: p, limits: {} }"],
    ["5: bots.a.emergency.limits: there is no limit in it; add maxExposure, maxDailyLoss, or both"],
  ],
  [
    "a daily loss at a venue whose transfers would look like losses",
    ["emergency: { exchange: gate, apiKeyFile: k, apiSecretFile: s, limits: { maxDailyLoss: 5% } }"],
    [
      "5: bots.a.emergency.limits.maxDailyLoss: the equity and the transfers of gate are not known; it works with binanceusdm, okx, okxus, myokx; remove it",
    ],
  ],
  [
    "orders that wait at the touch for balances, which nothing at the venue keeps from being sold twice",
    [
      "emergency: { exchange: okx, apiKeyFile: k, apiSecretFile: s, passphraseFile: p, spot: {}, limits: { maxExposure: 9, style: limit-then-market } }",
    ],
    [
      "5: bots.a.emergency.limits.style: limit-then-market is for derivatives alone: of a spot wallet nothing at the venue keeps an order that waits from being executed beside the next one; write style: market",
    ],
  ],
  [
    "orders that wait at the touch for margin wallets",
    [
      "emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, margin: { mode: cross }, limits: { maxExposure: 9, style: limit-then-market } }",
    ],
    [
      "5: bots.a.emergency.limits.style: limit-then-market is for derivatives alone: of a margin wallet nothing at the venue keeps an order that waits from being executed beside the next one; write style: market",
    ],
  ],
  [
    "a dead-man switch that one lost refresh fires",
    ["emergency: { exchange: binanceusdm, apiKeyFile: k, apiSecretFile: s, deadman: { timeout: 60s, refresh: 40s } }"],
    [
      "5: bots.a.emergency.deadman.refresh: refresh 40s is more than half of timeout 1m; lower refresh or raise timeout",
    ],
  ],
  [
    "a dead-man switch of a venue that has none",
    ["emergency: { exchange: bybit, apiKeyFile: k, apiSecretFile: s, deadman: {} }"],
    ["5: bots.a.emergency.deadman: bybit has no dead-man switch that a request can arm; remove it"],
  ],
  [
    "a driver that has nothing of what it needs",
    ["emergency: { driver: ccxt }"],
    [
      "5: bots.a.emergency: cannot close positions without the API key; add apiKeyFile: FILE or apiKeyEnv: NAME",
      "5: bots.a.emergency: cannot close positions without the API secret; add apiSecretFile: FILE or apiSecretEnv: NAME",
      "5: bots.a.emergency: cannot close positions without the venue; add exchange: ID, for example binanceusdm",
    ],
  ],
  [
    "an exec driver without a program, with keys that only ccxt reads",
    ["emergency: { driver: exec, exchange: binance, apiKeyFile: k, sandbox: true }"],
    [
      "5: bots.a.emergency: cannot close positions without the program; add command: [PROGRAM, ARGUMENT]",
      "5: bots.a.emergency.apiKeyFile: belongs to driver: ccxt, and this is driver: exec; remove it",
      "5: bots.a.emergency.exchange: belongs to driver: ccxt, and this is driver: exec; remove it",
      "5: bots.a.emergency.sandbox: belongs to driver: ccxt, and this is driver: exec; remove it",
    ],
  ],
  [
    "a webhook without address and secret",
    ["emergency: { driver: webhook, command: [x] }"],
    [
      "5: bots.a.emergency: cannot close positions without the address; add url: https://HOST/PATH",
      "5: bots.a.emergency: cannot sign requests without a secret; add secretFile: FILE or secretEnv: NAME",
      "5: bots.a.emergency.command: belongs to driver: exec, and this is driver: webhook; remove it",
    ],
  ],
  [
    "a spot wallet at a venue of futures alone",
    ["emergency: { exchange: binanceusdm, apiKeyFile: k, apiSecretFile: s, spot: {} }"],
    [
      "5: bots.a.emergency.spot: binanceusdm has no spot market; name the venue that has it, for example binance, or remove spot",
    ],
  ],
  [
    "margin at a venue whose loans are not known, beside spot and on a test network",
    [
      "emergency: { exchange: okx, apiKeyFile: k, apiSecretFile: s, passphraseFile: p, sandbox: true, spot: {}, margin: { mode: cross } }",
    ],
    [
      "5: bots.a.emergency.margin: the margin wallets of okx cannot be closed: ccxt repays VIP loans alone there; it works with binance; remove margin, or use a driver of your own",
      "5: bots.a.emergency.spot: stands beside margin; a close is of one kind of wallet: keep one of the two",
      "5: bots.a.emergency.sandbox: the test networks have no margin; remove it, or remove margin",
    ],
  ],
  [
    "symbols of cross margin",
    ["emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, symbols: [BTC/USDT], margin: { mode: cross } }"],
    [
      "5: bots.a.emergency.symbols: the loans of cross margin are of the whole wallet; remove symbols, or trade on isolated margin",
    ],
  ],
  [
    "derivatives and a quote currency on isolated margin",
    [
      "emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, symbols: ['BTC/USDT:USDT'], margin: { mode: isolated, quote: USDT } }",
    ],
    [
      "5: bots.a.emergency.margin.quote: each isolated pair has its own quote currency; remove it",
      '5: bots.a.emergency.symbols.0: "BTC/USDT:USDT" is a derivative, and margin closes none; write it as BTC/USDT',
    ],
  ],
  [
    "limits and a dead-man switch that margin has not",
    [
      "emergency: { exchange: binance, apiKeyFile: k, apiSecretFile: s, margin: { mode: cross }, limits: { maxDailyLoss: 5% }, deadman: { timeout: 60s, refresh: 15s } }",
    ],
    [
      "5: bots.a.emergency.limits.maxDailyLoss: the equity and the transfers of binance are not known; it works with binanceusdm, okx, okxus, myokx; remove it",
      "5: bots.a.emergency.deadman: binance has no dead-man switch that a request can arm; remove it",
    ],
  ],
  [
    "a hook beside ccxt that is none",
    ["emergency: { exchange: binanceusdm, apiKeyFile: k, apiSecretFile: s, hook: {} }"],
    ["5: bots.a.emergency.hook: names no hook; add command: [PROGRAM] or url: https://HOST/PATH"],
  ],
  [
    "a hook beside ccxt with keys of the other kind, and beside another driver",
    ["emergency: { driver: exec, command: [x], hook: { url: 'https://x/y', passEnv: [K] } }"],
    [
      "5: bots.a.emergency.hook: belongs to driver: ccxt, and this is driver: exec; remove it",
      "5: bots.a.emergency.hook: cannot sign requests without a secret; add secretFile: FILE or secretEnv: NAME",
      "5: bots.a.emergency.hook.passEnv: belongs to a hook with command, and this one has url; remove it",
    ],
  ],
  [
    "a webhook by ftp with two secrets",
    ["emergency: { driver: webhook, url: ftp://x/y, secretFile: k, secretEnv: K }"],
    [
      "5: bots.a.emergency.secretEnv: stands beside secretFile; keep one of the two",
      '5: bots.a.emergency.url: "ftp://x/y" is not an address; write it as https://HOST/PATH',
    ],
  ],
];

describe("loadConfig() in an emergency section", () => {
  test.each(inEmergency)("refuses %s", (_name, lines, messages) => {
    expect(folder.mistakes(botWith(...lines)).toSorted()).toEqual(
      messages.map((message) => `bot.yaml:${message}`).toSorted(),
    );
  });
});
