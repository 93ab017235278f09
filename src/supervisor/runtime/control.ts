/** The control socket: HTTP over a unix socket, for the CLI and for scripts. Every answer is JSON; errors carry a hint. */
import { chmodSync, chownSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Server } from "bun";
import type { ReloadAnswer } from "../../core/reload.ts";
import type { Status } from "../../core/status.ts";
import type { CgroupView } from "../../platform/controllers.ts";
import { pidNamespace } from "../../platform/pid-namespace.ts";
import { lookupGroup } from "../../platform/user.ts";
import {
  json,
  leavingRefusal,
  MAX_BODY_BYTES,
  missingRefusal,
  noAddress,
  noteBody,
  pathOf,
  preflightBody,
  readBody,
  refuse,
  refuseBroken,
  upgradeBody,
} from "./api.ts";
import { arm } from "./arm-routes.ts";
import { hintOf } from "./bot-doubt.ts";
import type { Bot } from "./bot.ts";
import { Confirmations } from "./confirmations.ts";
import { emergencyAnswer } from "./emergency-answer.ts";
import { acknowledge, closingRefusal, emergency } from "./emergency-routes.ts";
import { eventStream } from "./event-stream.ts";
import type { Journal } from "./journal.ts";
import type { Clock } from "../../platform/clock.ts";
import { isClosing } from "./live-plan.ts";
import type { MaintenanceWatch } from "./maintenance.ts";
import { maintenanceAnswer } from "./maintenance-answer.ts";
import { makeRoom } from "./quarantine.ts";
import { Refusals } from "./refusals.ts";
import { reloadAnswer } from "./reload/answer.ts";
import type { Absence } from "./reload/reloader.ts";
import { restart, start, stop } from "./run-routes.ts";
import type { Upgrader } from "./upgrade.ts";

export interface ControlDeps {
  readonly path: string;
  readonly group: string | undefined;
  readonly bots: ReadonlyMap<string, Bot>;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly status: () => Promise<Status>;
  /** The daemon's version, for `GET /v1/ping`. */
  readonly version?: string;
  readonly upgrader?: Upgrader;
  readonly maintenance?: MaintenanceWatch;
  /** Why the bot may not start now, as its data is being restored. */
  readonly restoring?: (bot: string) => string | undefined;
  /** Why there is no such bot now, although the config has it. */
  readonly absence?: (bot: string) => Absence | undefined;
  /** Another supervisor has the state folder by now. */
  readonly foreign?: () => boolean;
  /** The daemon is on its way out: it begins nothing any more. */
  readonly stopping?: () => boolean;
  /** What of cgroups the daemon has, for `GET /v1/cgroups`: a command may run in others. */
  readonly cgroups?: () => CgroupView;
  /** Reloads the config, or says what that would do; absent where there is no daemon to do it. */
  readonly reload?: (options: { readonly dryRun: boolean }) => Promise<ReloadAnswer>;
}

/** Of `Bun.serve`, whose types have it for ports alone. */
const NEVER_IDLE: object = { idleTimeout: 0 };

/** Opens the socket; the caller holds the state folder's lock, so a file in its place is stale. */
export function openControl(deps: ControlDeps): Server<undefined> {
  const move = makeRoom(deps.path, "socket");
  if (move !== undefined) deps.journal.write({ kind: "daemon", level: "alert", text: move });
  rmSync(deps.path, { force: true });
  const answers = controlAnswers(deps);
  const before = process.umask(0o117);
  try {
    const server = Bun.serve({
      unix: deps.path,
      maxRequestBodySize: MAX_BODY_BYTES,
      // Commands answer when their deed is done, and followers stay: no answer is cut off for taking long. Not by `timeout()` of the
      // request, which lasts only until its body has been read where that is empty.
      ...NEVER_IDLE,
      fetch: answers,
      error: (error) => refuse(500, { code: "internal", message: `internal error: ${error.message}` }),
    });
    chmodSync(deps.path, 0o660);
    if (deps.group !== undefined) giveToGroup(deps.path, deps.group);
    return server;
  } finally {
    process.umask(before);
  }
}

function giveToGroup(path: string, name: string): void {
  const gid = lookupGroup(name);
  if (gid === undefined) throw new Error(`cannot open the control socket: this machine has no group ${name}`);
  chownSync(path, -1, gid);
}

/** What the socket answers to a request; tokens of plans are known to this function only. */
export function controlAnswers(deps: ControlDeps): (request: Request) => Promise<Response> {
  const memory = { confirmations: new Confirmations(deps.clock), refusals: new Refusals(deps.clock) };
  return (request) => answer(deps, memory, request);
}

/** What is kept from one request to the next. */
interface Memory {
  readonly confirmations: Confirmations;
  readonly refusals: Refusals;
}

async function answer(deps: ControlDeps, memory: Memory, request: Request): Promise<Response> {
  const pathname = pathOf(request);
  if (pathname === undefined) return noAddress();
  const route = `${request.method} ${pathname}`;
  if (route === "GET /v1/ping") return json({ pid: process.pid, version: deps.version });
  if (route === "GET /v1/status") return json(await deps.status());
  if (route === "GET /v1/cgroups" && deps.cgroups !== undefined)
    return json({ pid: process.pid, pidNamespace: pidNamespace(), ...deps.cgroups() });
  if (route === "GET /v1/events") return eventStream(deps.journal, request);
  if (route === "POST /v1/events") return note(deps.journal, request);
  if (route === "POST /v1/reload" && deps.reload !== undefined) return reloadAnswer(deps.reload, request);
  if (pathname === "/v1/maintenance" && deps.maintenance !== undefined && ["GET", "POST"].includes(request.method))
    return maintenanceAnswer(deps.maintenance, request);
  if (pathname === "/v1/upgrade" && deps.upgrader !== undefined) {
    if (request.method === "GET") return json(deps.upgrader.state);
    if (request.method === "POST") return upgrade(deps.upgrader, request);
  }
  const match = /^\/v1\/bots\/([^/]+)\/(\w+)$/.exec(pathname);
  const verb = match?.[2] ?? "";
  const command = commands[`${request.method} ${verb}`];
  if (command === undefined) return noSuchRoute(route);
  // Mostly there is no body, and a bot that is stopped waits for no promise about one.
  const mayBreak = WITHOUT_BODY.has(verb) && request.body !== null;
  const broken = mayBreak ? await refuseBroken(request) : undefined;
  if (broken !== undefined) return broken;
  const name = decoded(match?.[1] ?? "");
  const bot = deps.bots.get(name);
  if (bot === undefined) return absent(deps, name);
  const leaving = bot.leaving && request.method === "POST" && verb !== "emergency";
  const answered = leaving
    ? leavingRefusal(name)
    : command({ deps, confirmations: memory.confirmations, bot, request });
  return BEGINS.has(verb) ? memory.refusals.note(bot, await answered) : answered;
}

async function absent({ absence, bots }: ControlDeps, name: string): Promise<Response> {
  const why = absence?.(name);
  if (why === undefined) return unknownBot(name, bots);
  return why.kind === "coming" ? leavingRefusal(name) : missingRefusal(name, why.reason);
}

async function upgrade(upgrader: Upgrader, request: Request): Promise<Response> {
  const body = await readBody(request, upgradeBody);
  if ("refusal" in body) return body.refusal;
  const outcome = await upgrader.attempt(body.value);
  if (outcome.kind === "fit") return json(outcome.answer, body.value.dryRun ? 200 : 202);
  const hint = "nothing was changed, and this version goes on";
  return refuse(409, { code: "notUpgraded", message: outcome.reason, hint });
}

/** What a person's command has done without the daemon. */
async function note(journal: Journal, request: Request): Promise<Response> {
  const body = await readBody(request, noteBody);
  if ("refusal" in body) return body.refusal;
  journal.write({ kind: "daemon", from: "command", ...body.value });
  return json({ noted: true });
}

interface Asked {
  readonly deps: ControlDeps;
  readonly confirmations: Confirmations;
  readonly bot: Bot;
  readonly request: Request;
}

/** Commands that let a bot trade; why it may not is told to the journal as well. */
const BEGINS: ReadonlySet<string> = new Set(["start", "restart", "arm"]);

/** Commands that read nothing of their request. */
const WITHOUT_BODY: ReadonlySet<string> = new Set(["start", "stop", "restart", "dump"]);

const commands: Readonly<Record<string, (asked: Asked) => Response | Promise<Response>>> = {
  "POST start": (asked) => begun(asked, "start", () => start(asked.bot, asked.request)),
  "POST stop": ({ bot, request }) => stop(bot, request),
  "POST restart": (asked) => begun(asked, "restart", () => restart(asked.bot, asked.deps.env)),
  "POST arm": (asked) => begun(asked, "arm", () => arm(asked)),
  "POST emergency": (asked) => stoppingRefusal(asked, "plan or close positions of") ?? emergency(asked),
  "POST acknowledge": (asked) => stoppingRefusal(asked, "acknowledge the emergency of") ?? acknowledge(asked),
  "POST preflight": preflight,
  "POST dump": ({ bot }) => dump(bot),
  "GET emergency": ({ bot }) => json(emergencyAnswer(bot)),
};

/** What was in doubt about a bot is looked at again first, whoever asks; without a doubt nobody waits for that. */
function begun(asked: Asked, verb: string, begin: () => Promise<Response>): Response | Promise<Response> {
  const refusal = beginRefusal(asked, verb);
  if (refusal !== undefined) return refusal;
  return asked.bot.doubt.text === undefined ? begin() : afterDoubt(asked, verb, begin);
}

async function afterDoubt(asked: Asked, verb: string, begin: () => Promise<Response>): Promise<Response> {
  const doubt = await asked.bot.doubt.look();
  if (doubt === undefined) return beginRefusal(asked, verb) ?? begin();
  const { name } = asked.bot.plan;
  const hint = hintOf(doubt);
  return refuse(409, {
    code: "inDoubt",
    message: `cannot ${verb} ${name}: ${doubt.message.replace(`cannot supervise ${name}: `, "")}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Why no bot is begun or armed now; `undefined` when it may be. */
function beginRefusal(asked: Asked, verb: string): Response | undefined {
  if (asked.bot.leaving) return leavingRefusal(asked.bot.plan.name);
  return stoppingRefusal(asked, verb) ?? foreignRefusal(asked, verb) ?? restoringRefusal(asked, verb);
}

/** What is armed here would be read by that one as unlocked, and what is started here could run beside its own. */
function foreignRefusal({ deps, bot }: Asked, verb: string): Response | undefined {
  if (deps.foreign?.() !== true) return undefined;
  return refuse(409, {
    code: "folderTaken",
    message: `cannot ${verb} ${bot.plan.name}: another supervisor has the state folder of this one`,
    hint: "end one of the two; supervisor status names the other",
  });
}

/** A daemon that is ending begins nothing that it could not see through; `undefined` when it is not. */
function stoppingRefusal({ deps, bot }: Asked, verb: string): Response | undefined {
  if (deps.stopping?.() !== true) return undefined;
  return refuse(503, {
    code: "stopping",
    message: `cannot ${verb} ${bot.plan.name}: the supervisor is stopping`,
    hint: "supervisor status tells when it has ended; the emergency commands work without it, too",
  });
}

/** A bot must not open data that is being replaced under it. */
function restoringRefusal({ deps, bot }: Asked, verb: string): Response | undefined {
  const reason = deps.restoring?.(bot.plan.name);
  if (reason === undefined) return undefined;
  return refuse(409, {
    code: "restoring",
    message: `cannot ${verb} ${bot.plan.name}: ${reason}`,
    hint: "try again when the restore has ended; it starts the bots again that it has stopped",
  });
}

function noSuchRoute(route: string): Response {
  return refuse(404, { code: "notFound", message: `cannot answer ${route}: no such route` });
}

/** A segment of a path; one that nobody has encoded rightly stays as it is, and then no bot has this name. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

async function unknownBot(name: string, bots: ReadonlyMap<string, Bot>): Promise<Response> {
  const { guessText } = await import("../../core/nearest.ts");
  const names = [...bots.keys()];
  const message = `cannot find bot ${name}: the config has none of this name${guessText(name, names)}`;
  return refuse(404, { code: "noSuchBot", message, hint: `the bots are: ${names.join(", ")}` });
}

/** A dump of the living bot, which goes on. */
async function dump(bot: Bot): Promise<Response> {
  const { generation, level, loop } = bot;
  const { name } = bot.plan;
  if (generation === undefined || !["starting", "running", "stopping"].includes(loop.state.kind))
    return refuse(409, { code: "notRunning", message: `cannot dump ${name}: it is not running` });
  const made = await bot.dumps.now({ generation, level });
  if (made.kind === "dumped") return json({ file: join(bot.plan.files.dumps, made.file) });
  return refuse(409, { code: "notDumped", message: `cannot dump ${name}: ${made.reason}` });
}

/** Reads only; asked for during a close, it would take from the venue what the close needs. */
async function preflight({ bot, request }: Asked): Promise<Response> {
  const body = await readBody(request, preflightBody);
  if ("refusal" in body) return body.refusal;
  if (isClosing(bot.loop.state)) return closingRefusal(bot, "fly a preflight of");
  return json(await bot.guard.preflights.run(body.value.testnet));
}
