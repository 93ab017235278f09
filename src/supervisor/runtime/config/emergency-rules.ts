/** Rules of the section `emergency`: what each driver and venue needs and can do, in the manner of rules.ts. */
import { formatDuration } from "../../../core/duration.ts";
import { deadmanRefusal, deadmanSwitchOf } from "../../../core/deadman.ts";
import { PASSPHRASE_IDS } from "../../../core/exchange-ids.ts";
import { marginRefusal } from "../../../core/margin-venues.ts";
import { map, number, word } from "./outline.ts";
import { report, type Report } from "./rules.ts";

/** ccxt's classes of the futures alone. */
const FUTURES_IDS: readonly string[] = ["binanceusdm", "binancecoinm", "krakenfutures", "kucoinfutures"];
/** Venues whose equity and transfers the readings know. */
const EQUITY_IDS: readonly string[] = ["binanceusdm", "okx", "okxus", "myokx"];

/** Keys of one driver alone, and what each needs of them. */
const KEYS_OF_DRIVER = {
  ccxt: [
    "exchange",
    "apiKeyFile",
    "apiKeyEnv",
    "apiSecretFile",
    "apiSecretEnv",
    "passphraseFile",
    "passphraseEnv",
    "endpoint",
  ],
  exec: ["command", "passEnv"],
  webhook: ["url", "secretFile", "secretEnv"],
} as const;

/** Each driver has what it needs and nothing that only another one reads. */
export function checkDriver(value: unknown, to: Report): void {
  const given = map(value);
  const named = given["driver"] ?? "ccxt";
  const driver = (["ccxt", "exec", "webhook"] as const).find((known) => known === named);
  // Another name is refused by itself, and then nobody knows what it needs.
  if (driver === undefined) return;
  for (const [other, keys] of Object.entries(KEYS_OF_DRIVER))
    for (const key of keys)
      if (other !== driver && given[key] !== undefined)
        report(to, [key], `belongs to driver: ${other}, and this is driver: ${driver}; remove it`);
  if (driver !== "ccxt" && given["sandbox"] === true)
    report(to, ["sandbox"], `belongs to driver: ccxt, and this is driver: ${driver}; remove it`);
  for (const key of ["spot", "margin", "hook"] as const)
    if (driver !== "ccxt" && given[key] !== undefined)
      report(to, [key], `belongs to driver: ccxt, and this is driver: ${driver}; remove it`);
  checkGuards(given, to);
  if (given["spot"] !== undefined && FUTURES_IDS.includes(String(given["exchange"])))
    report(
      to,
      ["spot"],
      `${String(given["exchange"])} has no spot market; name the venue that has it, for example binance, or remove spot`,
    );
  if (given["margin"] !== undefined) checkMargin(given, to);
  if (driver === "ccxt") checkEmergencyKeys(given, to);
  checkSymbols(given, to);
  if (driver === "exec" && given["command"] === undefined)
    report(to, [], "cannot close positions without the program; add command: [PROGRAM, ARGUMENT]");
  if (driver === "webhook") checkWebhook(given, to);
}

/** One close makes one kind of account safe, and a loan is of a wallet, not of a symbol. */
function checkMargin(given: Readonly<Record<string, unknown>>, to: Report): void {
  const exchange = word(given["exchange"]);
  const { mode, quote } = map(given["margin"]);
  const refusal = exchange === undefined ? undefined : marginRefusal(exchange);
  if (refusal !== undefined) report(to, ["margin"], `${refusal}; remove margin, or use a driver of your own`);
  if (given["spot"] !== undefined)
    report(to, ["spot"], "stands beside margin; a close is of one kind of wallet: keep one of the two");
  if (given["sandbox"] === true || given["testnet"] !== undefined)
    report(
      to,
      [given["sandbox"] === true ? "sandbox" : "testnet"],
      "the test networks have no margin; remove it, or remove margin",
    );
  if (mode === "isolated" && quote !== undefined)
    report(to, ["margin", "quote"], "each isolated pair has its own quote currency; remove it");
  if (mode === "cross" && Array.isArray(given["symbols"]) && given["symbols"].length > 0)
    report(
      to,
      ["symbols"],
      "the loans of cross margin are of the whole wallet; remove symbols, or trade on isolated margin",
    );
}

/** A symbol of the other kind would never be found at the venue, and that only in the emergency. */
function checkSymbols(given: Readonly<Record<string, unknown>>, to: Report): void {
  const symbols = Array.isArray(given["symbols"]) ? given["symbols"].map(String) : [];
  if (map(given["spot"])["derivatives"] === true) return;
  for (const [index, symbol] of symbols.entries()) {
    if (symbol.includes(":") && given["margin"] !== undefined)
      report(to, ["symbols", index], `"${symbol}" is a derivative, and margin closes none; write it as BTC/USDT`);
    else if (symbol.includes(":") && given["spot"] !== undefined)
      report(
        to,
        ["symbols", index],
        `"${symbol}" is a derivative, and spot closes none; write it as BTC/USDT, or add derivatives: true to spot`,
      );
    if (!symbol.includes(":") && given["spot"] === undefined && given["margin"] === undefined)
      report(
        to,
        ["symbols", index],
        `"${symbol}" is not a symbol of a derivative; write it as BTC/USDT:USDT, or add spot`,
      );
  }
}

/** A hook beside the driver is a program or an address, with what that one needs and nothing of the other. */
export function checkHook(value: unknown, to: Report): void {
  const given = map(value);
  const [command, url] = [given["command"] !== undefined, given["url"] !== undefined];
  if (command === url)
    return report(
      to,
      command ? ["url"] : [],
      command
        ? "stands beside command; keep one of the two"
        : "names no hook; add command: [PROGRAM] or url: https://HOST/PATH",
    );
  for (const key of command ? (["secretFile", "secretEnv"] as const) : (["passEnv"] as const))
    if (given[key] !== undefined)
      report(
        to,
        [key],
        `belongs to a hook with ${command ? "url" : "command"}, and this one has ${command ? "command" : "url"}; remove it`,
      );
  if (url) checkWebhook(given, to);
  return undefined;
}

function checkWebhook(given: Readonly<Record<string, unknown>>, to: Report): void {
  if (given["url"] === undefined)
    report(to, [], "cannot close positions without the address; add url: https://HOST/PATH");
  const [file, env] = [given["secretFile"] !== undefined, given["secretEnv"] !== undefined];
  if (file && env) report(to, ["secretEnv"], "stands beside secretFile; keep one of the two");
  if (!file && !env) report(to, [], "cannot sign requests without a secret; add secretFile: FILE or secretEnv: NAME");
}

/** Exactly one source for key and secret; for the passphrase at most one, and one where the venue wants it. */
function checkEmergencyKeys(given: Readonly<Record<string, unknown>>, to: Report): void {
  if (given["exchange"] === undefined)
    report(to, [], "cannot close positions without the venue; add exchange: ID, for example binanceusdm");
  checkKeys(given, to);
}

/** A section of limits names at least one. */
export function checkAccountLimits(value: unknown, to: Report): void {
  const { maxExposure, maxDailyLoss } = map(value);
  if (maxExposure === undefined && maxDailyLoss === undefined)
    report(to, [], "there is no limit in it; add maxExposure, maxDailyLoss, or both");
}

/** A refresh that is lost must not fire the switch. */
export function checkDeadman(value: unknown, to: Report): void {
  const given = map(value);
  const [timeout, refresh] = [number(given["timeout"]), number(given["refresh"])];
  if (timeout === undefined || refresh === undefined || 2 * refresh <= timeout) return;
  report(
    to,
    ["refresh"],
    `refresh ${formatDuration(refresh)} is more than half of timeout ${formatDuration(timeout)}; lower refresh or raise timeout`,
  );
}

/** What the venue must be able to do for limits and the dead-man switch. */
function checkGuards(given: Readonly<Record<string, unknown>>, to: Report): void {
  const { limits, deadman } = given;
  const driver = word(given["driver"]);
  const exchange = word(given["exchange"]) ?? "";
  for (const key of ["limits", "deadman"] as const)
    if (given[key] !== undefined && driver !== undefined && driver !== "ccxt")
      return report(to, [key], `belongs to driver: ccxt, and this is driver: ${driver}; remove it`);
  if (map(limits)["maxDailyLoss"] !== undefined && !EQUITY_IDS.includes(exchange))
    report(
      to,
      ["limits", "maxDailyLoss"],
      `the equity and the transfers of ${exchange} are not known; it works with ${EQUITY_IDS.join(", ")}; remove it`,
    );
  for (const wallet of ["spot", "margin"] as const)
    if (given[wallet] !== undefined && map(limits)["style"] === "limit-then-market")
      report(
        to,
        ["limits", "style"],
        `limit-then-market is for derivatives alone: of a ${wallet} wallet nothing at the venue keeps an order that waits from being executed beside the next one; write style: market`,
      );
  if (deadman === undefined) return undefined;
  const found = deadmanSwitchOf(exchange);
  if (found === undefined) return report(to, ["deadman"], `${deadmanRefusal(exchange, 0) ?? ""}; remove it`);
  const timeout = number(map(deadman)["timeout"]);
  if (timeout === undefined || (timeout >= found.minMs && timeout <= found.maxMs)) return undefined;
  return report(
    to,
    ["deadman", "timeout"],
    `${exchange} takes ${formatDuration(found.minMs)} to ${formatDuration(found.maxMs)}; write a timeout within that`,
  );
}

/** The venue of the test network is that of the section around it. */
export function checkTestnetKeys(value: unknown, to: Report): void {
  checkKeys(map(value), to);
}

function checkKeys(given: Readonly<Record<string, unknown>>, to: Report): void {
  for (const [name, what] of [
    ["apiKey", "API key"],
    ["apiSecret", "API secret"],
    ["passphrase", "passphrase"],
  ] as const) {
    const file = given[`${name}File`] !== undefined;
    const env = given[`${name}Env`] !== undefined;
    if (file && env) report(to, [`${name}Env`], `stands beside ${name}File; keep one of the two`);
    const { exchange } = given;
    if (!file && !env && name === "passphrase" && PASSPHRASE_IDS.includes(String(exchange)))
      report(
        to,
        [],
        `${String(exchange)} refuses a key without its ${what}; add ${name}File: FILE or ${name}Env: NAME`,
      );
    if (!file && !env && name !== "passphrase")
      report(to, [], `cannot close positions without the ${what}; add ${name}File: FILE or ${name}Env: NAME`);
  }
}
