/** Every class of mistake in a bot's section, with the exact message. */
import { describe, expect, test } from "vitest";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

/** Lines of the bot `a`, which begin on line 5, and what is said about them. */
const inBot: readonly (readonly [name: string, lines: readonly string[], messages: readonly string[]])[] = [
  [
    "a duration without a unit",
    ['stopTimeout: "30"'],
    ['5: bots.a.stopTimeout: "30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)'],
  ],
  [
    "a number where a duration is expected",
    ["stopTimeout: 30"],
    ['5: bots.a.stopTimeout: "30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)'],
  ],
  [
    "a duration beyond a year",
    ["stopTimeout: 366d"],
    ['5: bots.a.stopTimeout: "366d" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)'],
  ],
  ["a duration that must not be zero", ["startTimeout: 0s"], ["5: bots.a.startTimeout: must be longer than 0s"]],
  [
    "a size in a unit that is not binary",
    ["probes: [{ kind: resources, maxRss: 5MB }]"],
    ['5: bots.a.probes.0.maxRss: "5MB" is not a size; write it as 512KiB, 1500MiB or 2GiB'],
  ],
  [
    "a CPU share without a percent sign",
    ["probes: [{ kind: resources, maxCpu: 180 }]"],
    ['5: bots.a.probes.0.maxCpu: "180" is not a CPU share; write it as 50% or 200% (of one core)'],
  ],
  [
    "an unknown key near a known one",
    ["stopTimout: 30s"],
    ['5: bots.a.stopTimout: unknown key; did you mean "stopTimeout"?'],
  ],
  [
    "an unknown key near none",
    ["restart: { colour: red }"],
    [
      "5: bots.a.restart.colour: unknown key; remove it (known here: policy, base, factor, cap, jitter, resetAfter, intensity, period, haltExitCodes)",
    ],
  ],
  [
    "an unknown key of a probe",
    ["probes: [{ kind: tcp, prot: 80, port: 80 }]"],
    ['5: bots.a.probes.0.prot: unknown key; did you mean "port"?'],
  ],
  [
    "a value that is not among the choices",
    ["ready: reddy"],
    ['5: bots.a.ready: "reddy" is not known here; write started, notify or probe'],
  ],
  [
    "a misspelled choice",
    ["restart: { policy: on-failures }"],
    ['5: bots.a.restart.policy: "on-failures" is not known here; did you mean on-failure?'],
  ],
  [
    "a signal without SIG",
    ["stopSignal: TERM"],
    ['5: bots.a.stopSignal: "TERM" is not known here; did you mean SIGTERM?'],
  ],
  [
    "an unknown kind of probe",
    ["probes: [{ kind: hearbeat }]"],
    ['5: bots.a.probes.0.kind: "hearbeat" is not known here; did you mean heartbeat?'],
  ],
  [
    "a probe without a kind",
    ["probes:", "  - port: 80"],
    ["6: bots.a.probes.0.kind: is missing; add it (process, heartbeat, progress, http, tcp, exec, file or resources)"],
  ],
  [
    "a missing required key",
    ["probes:", "  - kind: tcp"],
    ["6: bots.a.probes.0.port: is missing; add it (Port to connect to.)"],
  ],
  ["a key without a value", ["cwd:"], ["5: bots.a.cwd: is empty; give it a value or remove it"]],
  ["an empty text", ['account: ""'], ["5: bots.a.account: is empty; write a value"]],
  [
    "a text that is too long",
    [`account: ${"x".repeat(65)}`],
    [`5: bots.a.account: "${"x".repeat(59)}…" is too long; write at most 64 characters`],
  ],
  [
    "a number where text is expected",
    ["preStop: [sleep, 1]"],
    ['5: bots.a.preStop.1: 1 is not text; put it in quotes: "1"'],
  ],
  [
    "text where a number is expected",
    ['restart: { intensity: "5" }'],
    ['5: bots.a.restart.intensity: "5" is not a whole number from 0 to 1000; remove the quotes'],
  ],
  [
    "a fraction where a whole number is expected",
    ["restart: { intensity: 1.5 }"],
    ["5: bots.a.restart.intensity: 1.5 is not a whole number from 0 to 1000; write one, without a unit"],
  ],
  [
    "a number out of range",
    ["restart: { haltExitCodes: [78, 256] }"],
    ["5: bots.a.restart.haltExitCodes.1: 256 is out of range; write a whole number from 0 to 255"],
  ],
  [
    "text where a truth value is expected",
    ["autostart: yes"],
    ['5: bots.a.autostart: "yes" is not a truth value; write true or false'],
  ],
  [
    "text where a list is expected",
    ["preStop: ./stop.sh"],
    ['5: bots.a.preStop: "./stop.sh" is not a list; write it as [one, two], or as lines that begin with "- "'],
  ],
  [
    "a list where a map is expected",
    ["restart: [1s]"],
    ['5: bots.a.restart: a list is not a map; write it as lines of "key: value"'],
  ],
  ["an empty command", ["preStop: []"], ["5: bots.a.preStop: is an empty list; give it at least one entry"]],
  ["a command without a program", ['preStop: [""]'], ["5: bots.a.preStop.0: the program is empty; name one"]],
  [
    "a tilde in a path",
    ["cwd: ~/bot"],
    ['5: bots.a.cwd: "~/bot": "~" is not expanded here; write ${HOME} in its place, or an absolute path'],
  ],
  [
    "a variable that the supervisor sets",
    ["env: { NOTIFY_SOCKET: /x }"],
    ["5: bots.a.env.NOTIFY_SOCKET: the supervisor sets this variable itself; remove it"],
  ],
  [
    "a bad variable name",
    ["env: { my-var: x }"],
    ["5: bots.a.env.my-var: a variable name is letters, digits and underscores, not beginning with a digit"],
  ],
  [
    "a number as a variable, whose value is never shown",
    ["env: { PIN: 1234 }"],
    ["5: bots.a.env.PIN: the value (hidden) is not text; put it in quotes"],
  ],
  [
    "two probes of one name",
    ["probes:", "  - { kind: tcp, port: 1 }", "  - { kind: http, url: http://x, name: tcp }"],
    ['7: bots.a.probes.1: probes 0 and 1 are both named "tcp"; give one of them another name'],
  ],
  [
    "a probe slower than its period",
    ["probes: [{ kind: tcp, port: 1, period: 5s, timeout: 5s }]"],
    ["5: bots.a.probes.0.timeout: timeout 5s is not shorter than period 5s; lower timeout or raise period"],
  ],
  [
    "a period that would keep the machine busy",
    ["probes: [{ kind: heartbeat, period: 49ms }]"],
    ["5: bots.a.probes.0.period: period 49ms is too short; make it at least 50ms"],
  ],
  [
    "a base above the cap",
    ["restart: { base: 2m, cap: 1m }"],
    ["5: bots.a.restart.base: base 2m is larger than cap 1m; lower base or raise cap"],
  ],
  [
    "ready: probe without a startup probe",
    ["ready: probe", "probes: [{ kind: tcp, port: 1 }]"],
    ['5: bots.a.ready: "probe" needs a probe with role: startup; add one, or use ready: started'],
  ],
  [
    "onFailure: emergency without an emergency section",
    ["probes: [{ kind: tcp, port: 1, onFailure: emergency }]"],
    ['5: bots.a.probes.0.onFailure: "emergency" needs an emergency section in this bot; add one'],
  ],
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
    "limits that are too little, without a unit, or in the wrong order",
    ["limits: { memory: 512KiB, memoryHigh: 2GiB, cpu: 0%, pids: 0, openFiles: 1, core: 0, oomScore: 1001 }"],
    [
      '5: bots.a.limits.core: "0" is not a size; write it as 512KiB, 1500MiB or 2GiB',
      '5: bots.a.limits.cpu: "0%" is not a CPU share; write it as 50% or 200% (of one core)',
      "5: bots.a.limits.memory: is too little for any program; make it at least 1MiB",
      "5: bots.a.limits.memoryHigh: memoryHigh 2.0 GiB is not below memory 512.0 KiB; lower memoryHigh or raise memory",
      "5: bots.a.limits.openFiles: 1 is out of range; write a whole number from 3 to 1073741816",
      "5: bots.a.limits.oomScore: 1001 is out of range; write a whole number from -1000 to 1000",
      "5: bots.a.limits.pids: 0 is out of range; write a whole number from 1 to 4194304",
    ],
  ],
  [
    "a restart for memory that has no limit to come near to, of a bot that is never restarted",
    ["limits: { pids: 9, onMemoryHigh: restart }", "restart: { policy: never }"],
    [
      "5: bots.a.limits.onMemoryHigh: restart contradicts restart.policy: never; write degrade, or let the bot be restarted",
      "5: bots.a.limits.onMemoryHigh: restart needs a limit that memory can come near to; add memoryHigh or memory, or leave it out",
    ],
  ],
  [
    "an output that is rotated all the time, and one that keeps nothing",
    ["output: { maxSize: 1KiB, keep: 0, compress: rar }"],
    [
      "5: bots.a.output.maxSize: must be at least 64KiB",
      "5: bots.a.output.keep: 0 is out of range; write a whole number from 1 to 1000",
      '5: bots.a.output.compress: "rar" is not known here; write zstd, gzip or none',
    ],
  ],
  [
    "dumps without a limit",
    ["dump: { keep: 0, stack: gdb }"],
    [
      "5: bots.a.dump.keep: 0 is out of range; write a whole number from 1 to 1000",
      '5: bots.a.dump.stack: "gdb" is not known here; write auto, node-cdp, abrt, quit or none',
    ],
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
  [
    "a variable that is not set",
    ["cwd: ${NOWHERE}"],
    ["5: bots.a.cwd: the environment variable NOWHERE is not set; set it, or write ${NOWHERE:-default}"],
  ],
  [
    "a value from the environment, which is not shown",
    ["stopTimeout: ${STOP}"],
    [
      '5: bots.a.stopTimeout: "${STOP}" (from the environment) is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)',
    ],
  ],
  [
    "a reference that is none",
    ["cwd: ${1}"],
    ['5: bots.a.cwd: "${" does not begin a reference; write ${NAME} or ${NAME:-default}, or $${ for a literal ${'],
  ],
];

describe("loadConfig() in a bot", () => {
  test.each(inBot)("refuses %s", (_name, lines, messages) => {
    expect(folder.mistakes(botWith(...lines), { STOP: "31" }).toSorted()).toEqual(
      messages.map((message) => `bot.yaml:${message}`).toSorted(),
    );
  });
});
