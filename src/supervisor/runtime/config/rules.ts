/**
 * Rules across the fields of one object; each adds issues instead of throwing, and takes input that may be wrong elsewhere,
 * so that one read of the config shows all errors.
 */
import { formatDuration } from "../../../core/duration.ts";
import { deadmanRefusal, deadmanSwitchOf } from "../../../core/deadman.ts";
import { PASSPHRASE_IDS } from "../../../core/exchange-ids.ts";
import { isLoopback, parseListen } from "../../../core/listen.ts";
import { marginRefusal } from "../../../core/margin-venues.ts";
import { formatSize } from "../../../core/size.ts";
import { orderMistakes } from "../../../core/start-order.ts";
import { list, map, number, word, words } from "./outline.ts";

/** Where a rule reports to; satisfied by zod's refinement context. */
export interface Report {
  addIssue(issue: { code: "custom"; message: string; path: (string | number)[] }): void;
}

/** Probes run at most this often: each run reads /proc or opens a connection. */
const MIN_PROBE_PERIOD_MS = 50;

/** Kinds whose `timeout` is the longest silence and not the time of one run. */
const SILENCE_KINDS = new Set(["heartbeat", "progress"]);

const limitsOutline = (value: unknown) => {
  const { memory, memoryHigh, onMemoryHigh } = map(value);
  return { memory: number(memory), memoryHigh: number(memoryHigh), onMemoryHigh: word(onMemoryHigh) };
};

const probeOutline = (value: unknown) => {
  const { kind, name, role, onFailure, period, timeout } = map(value);
  return {
    kind: word(kind),
    name: word(name),
    role: word(role),
    onFailure: word(onFailure),
    period: number(period),
    timeout: number(timeout),
  };
};

const botOutline = (value: unknown) => {
  const { ready, probes, limits, restart, emergency } = map(value);
  return {
    ready: word(ready),
    probes: list(probes).map(probeOutline),
    limits: limitsOutline(limits),
    restartPolicy: word(map(restart)["policy"]),
    emergency,
  };
};

/** Venues whose equity and transfers the readings know. */
/** ccxt's classes of the futures alone. */
const FUTURES_IDS: readonly string[] = ["binanceusdm", "binancecoinm", "krakenfutures", "kucoinfutures"];
const EQUITY_IDS: readonly string[] = ["binanceusdm", "okx", "okxus", "myokx"];

function report(to: Report, path: (string | number)[], message: string): void {
  to.addIssue({ code: "custom", path, message });
}

/** The first delay must not exceed the largest. */
export function checkRestart(value: unknown, to: Report): void {
  const given = map(value);
  const [base, cap] = [number(given["base"]), number(given["cap"])];
  if (base === undefined || cap === undefined || base <= cap) return;
  report(
    to,
    ["base"],
    `base ${formatDuration(base)} is larger than cap ${formatDuration(cap)}; lower base or raise cap`,
  );
}

/** The kubelet's rule, made strict: a run must be over before the next is due. */
export function checkProbe(value: unknown, to: Report): void {
  const { kind, period, timeout } = probeOutline(value);
  if (period === undefined) return;
  if (period < MIN_PROBE_PERIOD_MS)
    report(to, ["period"], `period ${formatDuration(period)} is too short; make it at least ${MIN_PROBE_PERIOD_MS}ms`);
  if (timeout === 0) report(to, ["timeout"], "timeout must be longer than 0s");
  if (timeout === undefined || timeout < period || SILENCE_KINDS.has(kind ?? "")) return;
  report(
    to,
    ["timeout"],
    `timeout ${formatDuration(timeout)} is not shorter than period ${formatDuration(period)}; lower timeout or raise period`,
  );
}

/** Memory must be able to be high before it is too much. */
export function checkLimits(value: unknown, to: Report): void {
  const { memory, memoryHigh, onMemoryHigh } = limitsOutline(value);
  if (onMemoryHigh === "restart" && memory === undefined && memoryHigh === undefined)
    report(
      to,
      ["onMemoryHigh"],
      "restart needs a limit that memory can come near to; add memoryHigh or memory, or leave it out",
    );
  if (memory === undefined || memoryHigh === undefined || memoryHigh < memory) return;
  report(
    to,
    ["memoryHigh"],
    `memoryHigh ${formatSize(memoryHigh)} is not below memory ${formatSize(memory)}; lower memoryHigh or raise memory`,
  );
}

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

/** Probe names are unique; what needs a startup probe or an emergency section has one. */
export function checkBot(value: unknown, to: Report): void {
  const { probes, ready, emergency, limits, restartPolicy } = botOutline(value);
  if (limits.onMemoryHigh === "restart" && restartPolicy === "never")
    report(
      to,
      ["limits", "onMemoryHigh"],
      "restart contradicts restart.policy: never; write degrade, or let the bot be restarted",
    );
  const seen = new Map<string, number>();
  for (const [index, probe] of probes.entries()) {
    const name = probe.name ?? probe.kind;
    if (name === undefined) continue;
    const first = seen.get(name);
    if (first === undefined) seen.set(name, index);
    else
      report(
        to,
        ["probes", index],
        `probes ${first} and ${index} are both named "${name}"; give one of them another name`,
      );
    if (probe.onFailure === "emergency" && emergency === undefined)
      report(to, ["probes", index, "onFailure"], '"emergency" needs an emergency section in this bot; add one');
  }
  if (ready === "probe" && !probes.some((probe) => probe.role === "startup"))
    report(to, ["ready"], '"probe" needs a probe with role: startup; add one, or use ready: started');
}

/** No two bots on one account: each would trade on what the other does not know. */
export function checkAccounts(value: unknown, to: Report): void {
  const bots = Object.entries(map(value));
  const owners = new Map<string, string>();
  for (const [name, bot] of bots) {
    const account = word(map(bot)["account"]) ?? name;
    const owner = owners.get(account);
    if (owner === undefined) owners.set(account, name);
    else
      report(
        to,
        [name, "account"],
        `bots "${owner}" and "${name}" share the account "${account}", which may have one live bot; give each its own`,
      );
  }
}

/** The order of the starts must be one: every name a bot's, and no circle. */
export function checkOrder(value: unknown, to: Report): void {
  const bots = Object.entries(map(value));
  const after = new Map(bots.map(([name, bot]) => [name, words(map(bot)["after"])]));
  for (const { bot, index, message } of orderMistakes(after)) report(to, [bot, "after", index], message);
}

/** Whoever can reach the address must know a password: the status tells accounts, positions and how to hurt them. */
export function checkListener(value: unknown, to: Report): void {
  const { listen: written, auth } = map(value);
  const listen = word(written) ?? "";
  const address = parseListen(listen);
  if (address === undefined || auth !== undefined || isLoopback(address)) return;
  report(
    to,
    ["listen"],
    `"${listen}" can be reached from other machines, and there is no auth; write 127.0.0.1:${address.port}, or add auth: { username: NAME, passwordFile: FILE }`,
  );
}

/** Keys of the log file and its rotation. */
const FILE_KEYS = ["maxSize", "maxAge", "keep", "compress"];

/** Keys as they are written, before defaults, of a log file that is not written; by path. */
export function outputErrors(root: unknown): readonly { path: (string | number)[]; message: string }[] {
  return Object.entries(map(map(root)["bots"])).flatMap(([name, bot]) => {
    const output = map(map(bot)["output"]);
    const { to } = output;
    if (to !== "journal" && to !== "inherit") return [];
    return FILE_KEYS.filter((key) => output[key] !== undefined).map((key) => ({
      path: ["bots", name, "output", key],
      message: `belongs to the log file, which "to: ${to}" does not write; remove it, or write to: file`,
    }));
  });
}

/** What is wrong with `metrics.listen` beside `http.listen`: two servers cannot have one port. */
export function listenersError(root: unknown): string | undefined {
  const { http, metrics } = map(root);
  const listen = word(map(http)["listen"]);
  if (listen === undefined || map(metrics)["listen"] !== listen) return undefined;
  if (parseListen(listen)?.port === 0) return undefined;
  return `"${listen}" is also the address of http; give metrics another port`;
}
