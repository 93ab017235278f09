/** Which network errors speak of the bot and which of our own machine; the second kind must never restart a bot. */
import type { ProbeResult } from "../core/verdict.ts";
import { excerpt } from "./text.ts";

/** Errors of connect(2), socket(2) and the resolver that arise before the bot is reached at all. */
const OWN_ERRORS: ReadonlySet<string> = new Set([
  "EACCES",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "EAI_FAIL",
  "EAI_MEMORY",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "ENOTFOUND",
  "EPERM",
]);

/** Plain words where the runtime's own message misleads ("is the computer able to access the url?"). */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed before a complete answer",
  ENOENT: "no such socket",
};

/** The result of an attempt to reach `target` that ended with `error`. */
export function unreachable(target: string, error: unknown): ProbeResult {
  const code = errorCode(error);
  const message = WORDS[code] ?? (error instanceof Error ? error.message : String(error));
  const reason = `cannot reach ${target}: ${excerpt(message)}`;
  return { kind: OWN_ERRORS.has(code) ? "unknown" : "failure", reason };
}

/** The `code` of a system error, "" when it has none. */
export function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
