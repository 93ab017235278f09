/** Which network errors speak of the bot and which of our own machine; the second kind must never restart a bot. */
import type { ProbeResult } from "../core/verdict.ts";
import { excerpt } from "./text.ts";

/** Errors of connect(2), socket(2) and the resolver that arise before the bot is reached at all. */
const OWN_ERRORS: ReadonlySet<string> = new Set([
  "EACCES",
  "EADDRNOTAVAIL",
  "EAI_MEMORY",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "EPERM",
]);

/** A name that does not resolve: of an upstream it is the failure, of the bot it says nothing. */
const NAME_ERRORS: ReadonlySet<string> = new Set(["EAI_AGAIN", "EAI_FAIL", "ENOTFOUND"]);

/** Plain words where the runtime's own message misleads ("is the computer able to access the url?"). */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed before a complete answer",
  ENOENT: "no such socket",
};

/** The result of an attempt to reach `target`, the bot's or an upstream's, that ended with `error`. */
export function unreachable(target: string, error: unknown, upstream: boolean): ProbeResult {
  const code = errorCode(error);
  const message = WORDS[code] ?? (error instanceof Error ? error.message : String(error));
  const reason = `cannot reach ${target}: ${excerpt(message)}`;
  const ours = OWN_ERRORS.has(code) || (!upstream && NAME_ERRORS.has(code));
  return { kind: ours ? "unknown" : "failure", reason };
}

/** The `code` of a system error, "" when it has none. */
export function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
