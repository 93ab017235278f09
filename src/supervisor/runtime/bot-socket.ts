/** The bot's own HTTP socket (`SUPERVISOR_SOCKET`): heartbeats, the demanded level, events. It commands nothing. */
import { chmodSync, chownSync, lstatSync, rmSync } from "node:fs";
import * as z from "zod";
import { later } from "../../core/later.ts";
import type { Server } from "bun";
import { spendRestart, type RestartLog } from "../../core/budget.ts";
import { plainText } from "../../core/plain-text.ts";
import type { Clock } from "../../platform/clock.ts";
import { heartbeatBody, json, MAX_BODY_BYTES, noAddress, pathOf, readBody, refuse, refuseBroken } from "./api.ts";
import type { Bot } from "./bot.ts";
import { failureOf } from "./failure-of.ts";

/** Longest text of an event that a bot posts, characters. */
const EVENT_CHARS = 1_000;
/** Events that a bot may post per minute: the journal is not its log file. */
const EVENTS_PER_MINUTE = 60;
const MINUTE_MS = 60_000;
/** Mask under which a socket is made that nobody but its owner may connect to. */
const OWNER_ONLY = 0o177;

const eventBody = later(() =>
  z.strictObject({
    level: z.enum(["info", "warn", "alert"]).default("info"),
    // One event is one line of the journal, whatever the bot sends.
    text: z.string().min(1).max(EVENT_CHARS).transform(plainText),
  }),
);

/** Opens the socket of one bot; only the bot's user and root may connect. Throws when it cannot be opened. */
export function openBotSocket(bot: Bot, clock: Clock): Server<undefined> {
  removeStale(bot.plan.files.socket);
  const before = process.umask(OWNER_ONLY);
  let server: Server<undefined> | undefined;
  try {
    server = serve(bot, clock);
    handToUser(bot);
    return server;
  } catch (error) {
    void server?.stop(true);
    throw error;
  } finally {
    process.umask(before);
  }
}

/**
 * The same for several. The runtime asks for a garbage collection at each server that it opens, and does few for many only if
 * nothing else is done between them. Throws when one cannot be opened; then none is.
 */
export function openBotSockets(bots: readonly Bot[], clock: Clock): readonly Server<undefined>[] {
  for (const { plan } of bots) removeStale(plan.files.socket);
  const servers: Server<undefined>[] = [];
  const before = process.umask(OWNER_ONLY);
  try {
    for (const bot of bots) servers.push(serve(bot, clock));
    for (const bot of bots) handToUser(bot);
    return servers;
  } catch (error) {
    for (const server of servers) void server.stop(true);
    throw error;
  } finally {
    process.umask(before);
  }
}

/** What an earlier supervisor has left; the look costs less than a removal of nothing. */
function removeStale(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) rmSync(path, { force: true });
}

function serve(bot: Bot, clock: Clock): Server<undefined> {
  const allowance = new EventAllowance(clock);
  return Bun.serve({
    unix: bot.plan.files.socket,
    maxRequestBodySize: MAX_BODY_BYTES,
    fetch: (request) => answer(bot, allowance, request),
    // Without one the runtime sends a page of its own, and puts a stack trace on our standard error.
    error: (error) => refuse(500, { code: "internal", message: `internal error: ${error.message}` }),
  });
}

function handToUser({ plan, user }: Bot): void {
  chmodSync(plan.files.socket, 0o600);
  if (user !== undefined) chownSync(plan.files.socket, user.uid, user.gid);
}

async function answer(bot: Bot, allowance: EventAllowance, request: Request): Promise<Response> {
  const path = pathOf(request);
  if (path === undefined) return noAddress();
  const route = `${request.method} ${path}`;
  switch (route) {
    case "POST /v1/heartbeat":
      return takeHeartbeat(bot, request);
    case "GET /v1/level":
      return json({ level: bot.level });
    case "POST /v1/reconciled":
      return takeReconciled(bot, request);
    case "POST /v1/events":
      return takeEvent(bot, allowance, request);
    default:
      return refuse(404, {
        code: "notFound",
        message: `cannot answer ${route}: no such route`,
        hint: "POST /v1/heartbeat, GET /v1/level, POST /v1/reconciled or POST /v1/events",
      });
  }
}

async function takeHeartbeat(bot: Bot, request: Request): Promise<Response> {
  const body = await readBody(request, heartbeatBody);
  if ("refusal" in body) return body.refusal;
  const { generation } = bot;
  const up = bot.loop.state.kind === "starting" || bot.loop.state.kind === "running";
  if (generation === undefined || !up)
    return refuse(409, { code: "notRunning", message: `cannot take a heartbeat: ${bot.plan.name} is not running` });
  generation.mailbox.heartbeat(body.value);
  return json({ level: bot.level, generation: generation.generation });
}

/** The bot has compared its restored data with its account; saying it without need changes nothing. */
async function takeReconciled(bot: Bot, request: Request): Promise<Response> {
  const broken = await refuseBroken(request);
  if (broken !== undefined) return broken;
  const why = bot.restored.unreconciled ? failureOf(() => bot.reconciled("the bot")) : undefined;
  if (why !== undefined)
    return refuse(500, { code: "notNoted", message: `cannot note that the records agree with the account: ${why}` });
  return json({ level: bot.level });
}

async function takeEvent(bot: Bot, allowance: EventAllowance, request: Request): Promise<Response> {
  if (!allowance.take())
    return refuse(429, {
      code: "tooMany",
      message: `cannot take the event: more than ${EVENTS_PER_MINUTE} in a minute`,
    });
  const body = await readBody(request, eventBody);
  if ("refusal" in body) return body.refusal;
  bot.fact(body.value.level, `the bot says: ${body.value.text}`);
  return json({});
}

/** The sliding list of the restart budget, for events. */
class EventAllowance {
  readonly #clock: Clock;
  #log: RestartLog = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(): boolean {
    const allowed = { intensity: EVENTS_PER_MINUTE, period: MINUTE_MS };
    const { log, exhausted } = spendRestart(allowed, this.#log, this.#clock.monotonicMs());
    if (!exhausted) this.#log = log;
    return !exhausted;
  }
}
