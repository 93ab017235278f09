/** Speaks to the daemon over its control socket. A command never starts a daemon by itself. */
import { EXIT } from "../../core/exit-code.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import type { Place } from "./place.ts";

/** An answer of the daemon that says no. */
export class DaemonError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  readonly code: string;

  constructor({ code, message, hint }: { code: string; message: string; hint?: string }, exitCode: number) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** Nobody answers on the control socket; exit code 3. */
export class DaemonDownError extends Error {
  readonly hint = "start it with: supervisor run (or: systemctl start tradingbot)";
  readonly exitCode = EXIT.notRunning;
}

/** One request; the parsed answer, or an error that carries its exit code. */
export async function callDaemon(place: Place, method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
  const response = await request(place, method, path, body);
  const answer: unknown = await response.json();
  if (response.ok) return answer;
  throw new DaemonError(errorOf(answer), response.status === 404 ? EXIT.usage : EXIT.failed);
}

/** One request, with the answer as a stream. */
export async function request(place: Place, method: "GET" | "POST", path: string, body?: unknown): Promise<Response> {
  const unix = controlSocketPath(place.dirs.runtimeDir);
  try {
    return await fetch(`http://supervisor${path}`, {
      unix,
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // Commands answer when their deed is done, which may take as long as a bot takes to stop.
      timeout: false,
    });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "EACCES" || code === "EPERM")
      throw new DaemonError(
        {
          code,
          message: `cannot use ${unix}: permission denied`,
          hint: "use the daemon's user or the group of control.group",
        },
        EXIT.failed,
      );
    throw new DaemonDownError(`cannot reach the supervisor at ${unix}: it is not running`, { cause: error });
  }
}

function errorOf(answer: unknown): { code: string; message: string; hint?: string } {
  const fallback = { code: "unknown", message: "the supervisor gave an answer that is not understood" };
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return fallback;
  const { error } = answer;
  if (typeof error !== "object" || error === null) return fallback;
  if (!("code" in error && "message" in error)) return fallback;
  const hint = "hint" in error && typeof error.hint === "string" ? { hint: error.hint } : {};
  return { code: String(error.code), message: String(error.message), ...hint };
}
