/** Every class of mistake in a bot's section, with the exact message; those of its emergency section have a file of their own. */
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
    ['5: bots.a.restart.intensity: "5" is not a whole number from 0 to 1000000000; remove the quotes'],
  ],
  [
    "a fraction where a whole number is expected",
    ["restart: { intensity: 1.5 }"],
    ["5: bots.a.restart.intensity: 1.5 is not a whole number from 0 to 1000000000; write one, without a unit"],
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
    "a probe that is named as the one that every bot has",
    ["probes: [{ kind: exec, name: process, command: [x] }]"],
    ['5: bots.a.probes.0.name: "process" is the probe that every bot has; give this one another name'],
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
