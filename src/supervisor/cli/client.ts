/** Speaks to the daemon over its control socket. A command never starts a daemon by itself. */
import { join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import { plainText } from "../../core/plain-text.ts";
import { systemClock } from "../../platform/clock.ts";
import { quickAsk, type QuickAnswer } from "../../platform/quick-http.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import type { Place } from "./place.ts";

/** Time for an answer that costs the daemon nothing: a stopped or drowned daemon must not hang a command; ms. */
const PING_MS = 5_000;
/** After this time without an answer it is asked whether anybody is there at all, ms. */
const LATE_MS = 500;
/** Time for an answer that reads process trees, ms. */
const READ_MS = 10_000;

/** No such bot, or a config with mistakes. */
const USAGE_STATUS: ReadonlySet<number> = new Set([404, 422]);

type Method = "GET" | "POST";

interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly details?: readonly string[];
}

/** An answer of the daemon that says no. */
export class DaemonError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  readonly code: string;

  constructor({ code, message, hint, details = [] }: Told, exitCode: number) {
    super([message, ...details].join("\n"));
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** Nobody answers on the control socket; exit code 3. */
export class DaemonDownError extends Error {
  readonly hint = "start it with: supervisor run";
  readonly exitCode = EXIT.notRunning;
}

/** Somebody holds the control socket and says nothing in time. */
export class DaemonSilentError extends DaemonError {
  /** Pid by the lock file; `undefined` when that cannot be read. */
  readonly pid: number | undefined;

  /** `lock` is the path of the daemon's lock file, `pid` what stands in it. */
  constructor(lock: string, pid: number | undefined) {
    const who = pid === undefined ? "the supervisor" : `the supervisor (pid ${pid}, from ${lock})`;
    const kill = `kill -CONT ${pid ?? "PID"}`;
    super(
      {
        code: "noAnswer",
        message: `${who} does not answer; it may be stopped or overloaded`,
        hint: `if it is stopped, "${kill}" lets it go on; if that does not help, end it with SIGKILL and start it again`,
      },
      EXIT.failed,
    );
    this.pid = pid;
  }
}

/** One request; the parsed answer, or an error that carries its exit code. */
export async function callDaemon(place: Place, method: Method, path: string, body?: unknown): Promise<unknown> {
  const answer = await (method === "GET" ? read(place, path) : command(place, path, body));
  if (answer.ok && answer.value !== undefined) return answer.value;
  throw new DaemonError(errorOf(answer.value), USAGE_STATUS.has(answer.status) ? EXIT.usage : EXIT.failed);
}

/** A question may be asked of a daemon that does not answer: it changes nothing. */
async function read(place: Place, path: string): Promise<Answer> {
  const { promise: silent, reject } = Promise.withResolvers<never>();
  const cancel = systemClock.after(LATE_MS, () => void ping(place).catch(reject));
  let over = false;
  const asked = { method: "GET", path, body: undefined, deadlineMs: READ_MS, isOver: () => over } as const;
  try {
    return await Promise.race([send(place, asked), silent]);
  } finally {
    over = true;
    cancel();
  }
}

/** Nothing is asked of a daemon that does not answer; it answers when the deed is done, which may take as long as a bot takes to stop. */
function command(place: Place, path: string, body: unknown): Promise<Answer> {
  const asked = { method: "POST", path, body, deadlineMs: undefined } as const;
  return guarded(place, async (unix) => {
    const answer = await quickAsk({ ...asked, unix, ping: PING }, systemClock);
    if (answer !== undefined) return toAnswer(answer);
    await askByFetch(unix, PING);
    return toAnswer(await askByFetch(unix, asked));
  });
}

/** One request, with the answer as a stream that has no end but by `signal`. */
export async function request(
  place: Place,
  method: Method,
  path: string,
  more: { readonly headers?: Readonly<Record<string, string>>; readonly signal?: AbortSignal } = {},
): Promise<Response> {
  await ping(place);
  return guarded(place, (unix) => fetch(`http://supervisor${path}`, { unix, timeout: false, method, ...more }));
}

/** Whatever answers is alive, also a daemon that does not know the question. */
async function ping(place: Place): Promise<void> {
  await send(place, PING);
}

interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly value: unknown;
}

interface Asked {
  readonly method: Method;
  readonly path: string;
  readonly body: unknown;
  readonly deadlineMs: number | undefined;
  readonly isOver?: () => boolean;
}

const PING = { method: "GET", path: "/v1/ping", body: undefined, deadlineMs: PING_MS } as const satisfies Asked;

function send(place: Place, asked: Asked): Promise<Answer> {
  return guarded(place, async (unix) =>
    toAnswer((await quickAsk({ ...asked, unix }, systemClock)) ?? (await askByFetch(unix, asked))),
  );
}

function toAnswer({ status, text }: QuickAnswer): Answer {
  return { ok: status >= 200 && status < 300, status, value: parsed(text) };
}

async function askByFetch(unix: string, { method, path, body, deadlineMs }: Asked): Promise<QuickAnswer> {
  const signal = deadlineMs === undefined ? {} : { signal: AbortSignal.timeout(deadlineMs) };
  const more = body === undefined ? {} : { body: JSON.stringify(body) };
  const response = await fetch(`http://supervisor${path}`, { unix, timeout: false, method, ...signal, ...more });
  return { status: response.status, text: await response.text() };
}

/** `undefined` for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Does one exchange with the daemon, and tells in our words why it failed. */
async function guarded<T>(place: Place, exchange: (unix: string) => Promise<T>): Promise<T> {
  const unix = controlSocketPath(place.dirs.runtimeDir);
  try {
    return await exchange(unix);
  } catch (error) {
    throw await explained(error, place, unix);
  }
}

async function explained(error: unknown, { dirs }: Place, unix: string): Promise<Error> {
  if (error instanceof Error && error.name === "TimeoutError") {
    const lock = join(dirs.stateDir, "supervisor.lock");
    // Only here: what reads a lock costs each command of a daemon that answers its start.
    const { lockHolder } = await import("../../platform/lock.ts");
    return new DaemonSilentError(lock, lockHolder(lock));
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  switch (code) {
    case "EACCES":
    case "EPERM":
      return new DaemonError(
        {
          code,
          message: `cannot use ${unix}: permission denied`,
          hint: "use the daemon's user or the group of control.group",
        },
        EXIT.failed,
      );
    case "ECONNRESET":
      return new DaemonDownError(`lost the supervisor at ${unix}: it ended before it answered`, { cause: error });
    default:
      return new DaemonDownError(`cannot reach the supervisor at ${unix}: it is not running`, { cause: error });
  }
}

/** What a bot or a venue has said may be in it. */
function errorOf(answer: unknown): Told {
  const fallback = { code: "unknown", message: "the supervisor gave an answer that is not understood" };
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return fallback;
  const { error } = answer;
  if (typeof error !== "object" || error === null) return fallback;
  if (!("code" in error && "message" in error)) return fallback;
  const hint = "hint" in error && typeof error.hint === "string" ? { hint: plainText(error.hint) } : {};
  const lines: readonly unknown[] = "details" in error && Array.isArray(error.details) ? error.details : [];
  const details = lines.length === 0 ? {} : { details: lines.map((line) => plainText(String(line))) };
  return { code: String(error.code), message: plainText(String(error.message)), ...hint, ...details };
}
