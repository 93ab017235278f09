/** The JSON that goes over the control socket: error shape, request bodies, and answers that are no status. */
import * as z from "zod";
import { later } from "../../core/later.ts";
import { closeGoalSchema } from "../../core/close-goal.ts";
import { closeReportSchema } from "../../core/close-job.ts";
import { CONTROLLERS } from "../../core/limits.ts";
import { sleep, systemClock } from "../../platform/clock.ts";

/** Largest request body read from either socket, bytes. */
export const MAX_BODY_BYTES = 64 * 1024;
/** Longest wait for the end of a request's body, ms. */
const BODY_MS = 10_000;

export const armBody = later(() =>
  z.strictObject({
    reason: z.string().min(1).max(500),
    acceptPositions: z.boolean().default(false),
  }),
);

export const emergencyBody = later(() =>
  z.discriminatedUnion("mode", [
    z.strictObject({ mode: z.literal("plan"), goal: closeGoalSchema.optional() }),
    z.strictObject({
      mode: z.literal("close"),
      goal: closeGoalSchema.optional(),
      confirm: z.string().optional(),
      yes: z.boolean().default(false),
      /** The account that is meant, with `yes`. */
      account: z.string().optional(),
    }),
  ]),
);

export const acknowledgeBody = later(() =>
  z.strictObject({
    reason: z.string().min(1).max(500),
    /** Who says so. */
    by: z.string().min(1).max(100).optional(),
  }),
);

/** Longest text of `POST /v1/events`, characters. */
export const MAX_NOTE_CHARS = 500;

export const noteBody = later(() =>
  z.strictObject({ level: z.enum(["info", "warn", "alert"]), text: z.string().min(1).max(MAX_NOTE_CHARS) }),
);

export const upgradeBody = later(() =>
  z.strictObject({
    binary: z.string().max(4_096).startsWith("/").optional(),
    dryRun: z.boolean().default(false),
  }),
);

export const maintenanceBody = later(() =>
  z.discriminatedUnion("on", [
    z.strictObject({ on: z.literal(true), forMs: z.int().positive(), reason: z.string().min(1).max(500).optional() }),
    z.strictObject({ on: z.literal(false) }),
  ]),
);

/** The answer of `/v1/maintenance`. */
export const maintenanceAnswerSchema = later(() =>
  z.object({
    maintenance: z.object({ since: z.string(), until: z.string(), reason: z.string().nullable() }).nullable(),
    /** Of a request to end it: whether there was one. */
    ended: z.boolean().optional(),
  }),
);

export const preflightBody = later(() => z.strictObject({ testnet: z.boolean().default(false) }));

export const heartbeatBody = later(() =>
  z.strictObject({
    status: z.string().max(4_096).optional(),
    progress: z.union([z.string(), z.number()]).optional(),
    inFlight: z.number().int().min(0).optional(),
    exposure: z.number().optional(),
    positions: z.number().int().min(0).optional(),
  }),
);

export const reloadBody = later(() => z.strictObject({ dryRun: z.boolean().default(false) }));

/** The answer of `POST /v1/bots/NAME/arm`, once the lockout has ended. */
export const armAnswerSchema = later(() =>
  z.object({
    bot: z.string(),
    /** State of the bot, as in the status. */
    state: z.string(),
    /** The bot is running again; false also where it is not wanted, and then it is stopped, with no reason. Absent: all is well. */
    started: z.boolean().default(true),
    /** It was not locked: its restored data agrees with its account again. Absent: its lockout has ended. */
    reconciled: z.boolean().optional(),
    /** Why the start that followed failed. */
    reason: z.string().optional(),
  }),
);

/** The answer of `GET /v1/bots/NAME/emergency`; a reader takes no offence at fields that it does not know. */
export const emergencyAnswerSchema = later(() =>
  z.object({
    bot: z.string(),
    /** State of the bot, as in the status. */
    state: z.string(),
    /** Null: the bot is not locked out, and no close is under way. */
    incident: z.string().nullable(),
    /** Why the incident was opened. */
    reason: z.string().nullable(),
    lockedAt: z.string().nullable(),
    /** How the close ended, with the time; null while it has not. Another round of the incident sets both back to null. */
    outcome: z.string().nullable(),
    endedAt: z.string().nullable(),
    /** When a person ended the slow rounds of a close that did not end well. */
    acknowledgedAt: z.string().nullable().default(null),
    /** What the close is doing, or why it ended so; null when this daemon knows nothing of it. */
    detail: z.string().nullable(),
    /** Of the close that ended last; null while one is under way, and after one that made none. */
    report: closeReportSchema.nullable(),
  }),
);
export type EmergencyAnswer = z.output<typeof emergencyAnswerSchema>;

const controllerPlace = () => z.object({ version: z.enum(["v1", "v2"]), folder: z.string() });

/** The answer of `GET /v1/cgroups`: what cgroups the daemon has, and which controllers for the limits of its bots. */
export const cgroupsAnswerSchema = later(() => {
  const mode = z.enum(["v2", "hybrid", "none"]);
  return z.object({
    pid: z.int().positive(),
    /** Of which `pid` is one; absent in the answer of an older daemon. */
    pidNamespace: z.string().optional(),
    support: z.object({ mode, base: z.string().optional(), reason: z.string() }),
    controllers: z.object({
      mode,
      places: z.partialRecord(z.enum(CONTROLLERS), controllerPlace()),
      /** Why there is no place. */
      obstacles: z.partialRecord(z.enum(CONTROLLERS), z.string()),
    }),
  });
});

export interface ApiError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  /** Further lines, for example one for each mistake of a config. */
  readonly details?: readonly string[];
}

export function json(value: unknown, status = 200): Response {
  return new Response(`${JSON.stringify(value)}\n`, { status, headers: { "content-type": "application/json" } });
}

export function refuse(status: number, error: ApiError): Response {
  return json({ error }, status);
}

/** The path that is asked for; `undefined`: the address, of which the client says the host, is none. */
export function pathOf(request: Request): string | undefined {
  try {
    return new URL(request.url).pathname;
  } catch {
    return undefined;
  }
}

export function noAddress(): Response {
  return badRequest("cannot use the request: its Host and path are no address");
}

/** A bot that a reload lets go of is nobody's to command any more. */
export function leavingRefusal(name: string): Response {
  return refuse(409, {
    code: "reloading",
    message: `cannot command ${name}: a reload is about to replace or remove it`,
    hint: "try again when the reload has ended",
  });
}

/** A bot of the config that a reload could not take in. */
export function missingRefusal(name: string, reason: string): Response {
  return refuse(409, {
    code: "missing",
    message: `cannot command ${name}: nobody supervises it, as the last reload could not take it in: ${reason}`,
    hint: "it is tried again every 10 s; supervisor reload tries it at once",
  });
}

/** A body of at most 64 KiB, parsed and checked; or the response that refuses it. */
export async function readBody<T>(
  request: Request,
  schema: z.ZodType<T>,
): Promise<{ value: T } | { refusal: Response }> {
  const read = await readText(request);
  if ("refusal" in read) return read;
  try {
    const parsed = schema.safeParse(read.text === "" ? {} : JSON.parse(read.text));
    if (parsed.success) return { value: parsed.data };
    const why = z.prettifyError(parsed.error).replaceAll("\n", " ");
    return { refusal: badRequest(`cannot use the request: ${why}`) };
  } catch (error) {
    return { refusal: badRequest(`cannot read the request: ${messageOf(error)}`) };
  }
}

/**
 * Waits for the end of a body that says nothing to its route, and refuses one that breaks off: the runtime answers 400 to a broken
 * body by itself, and a request that is refused must have done nothing.
 */
export async function refuseBroken(request: Request, patienceMs = BODY_MS): Promise<Response | undefined> {
  const read = await readText(request, patienceMs);
  return "refusal" in read ? read.refusal : undefined;
}

async function readText(request: Request, patienceMs = BODY_MS): Promise<{ text: string } | { refusal: Response }> {
  const length = Number(request.headers.get("content-length") ?? "0");
  if (length > MAX_BODY_BYTES)
    return { refusal: refuse(413, { code: "tooLarge", message: "cannot read the request: its body is over 64 KiB" }) };
  const come = new AbortController();
  try {
    const text = await Promise.race([request.text(), sleep(systemClock, patienceMs, come.signal)]);
    if (typeof text === "string") return { text };
    const message = `cannot read the request: its body did not end within ${patienceMs} ms`;
    return { refusal: refuse(408, { code: "badRequest", message }) };
  } catch (error) {
    return { refusal: badRequest(`cannot read the request: ${messageOf(error)}`) };
  } finally {
    come.abort();
  }
}

function badRequest(message: string): Response {
  return refuse(400, { code: "badRequest", message });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
