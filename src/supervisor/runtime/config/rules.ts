/**
 * Rules across the fields of one object; each adds issues instead of throwing, and takes input that may be wrong elsewhere,
 * so that one read of the config shows all errors.
 */
import { formatDuration } from "../../../core/duration.ts";
import { isLoopback, parseListen } from "../../../core/listen.ts";
import { formatSize } from "../../../core/size.ts";
import { orderMistakes } from "../../../core/start-order.ts";
import { list, map, number, word, words } from "./outline.ts";

/** Where a rule reports to; satisfied by zod's refinement context. */
export interface Report {
  addIssue(issue: { code: "custom"; message: string; path: (string | number)[] }): void;
}

/** Probes run at most this often: each run reads /proc or opens a connection. */
export const MIN_PROBE_PERIOD_MS = 50;

/** Kinds whose `timeout` is the longest silence and not the time of one run. */
export const SILENCE_KINDS = new Set(["heartbeat", "progress"]);

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

/** Adds one issue. */
export function report(to: Report, path: (string | number)[], message: string): void {
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

/** Kind and name of the probe that a bot has also where its config does not name it. */
const PROCESS = "process";

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
    if (first === undefined && name === PROCESS && !probes.some(({ kind }) => kind === PROCESS))
      report(to, ["probes", index, "name"], `"${name}" is the probe that every bot has; give this one another name`);
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
