/** What a bot says over its notify socket, parsed: systemd's sd_notify(3) with the private fields of our contract. Unknown fields are counted, never an error. */

/** One statement of a datagram. Times are in milliseconds. */
export type NotifyMessage =
  | { readonly kind: "stopping" }
  | { readonly kind: "ready" }
  /** `monotonicUsec`: the sender's CLOCK_MONOTONIC, to tell a reload that we asked for from an older one. */
  | { readonly kind: "reloading"; readonly monotonicUsec: number | undefined }
  | { readonly kind: "status"; readonly text: string }
  | { readonly kind: "watchdog" }
  | { readonly kind: "watchdogTrigger" }
  /** 0 switches the watchdog off. */
  | { readonly kind: "watchdogPeriod"; readonly periodMs: number }
  | { readonly kind: "extendTimeout"; readonly extendMs: number }
  | { readonly kind: "mainPid"; readonly pid: number }
  /** For the record only: systemd-notify itself sends one when its own call fails. */
  | { readonly kind: "errno"; readonly errno: number }
  | { readonly kind: "exitStatus"; readonly status: number }
  | { readonly kind: "restartReset" }
  | { readonly kind: "barrier" }
  | { readonly kind: "notifyAccess"; readonly access: "none" | "main" | "exec" | "all" }
  /** Offered descriptors are not stored; they are closed. */
  | { readonly kind: "fdStore" }
  | { readonly kind: "progress"; readonly value: string }
  | { readonly kind: "inFlight"; readonly count: number }
  | { readonly kind: "exposure"; readonly amount: number }
  /** Lines that are unknown, malformed or out of bounds. */
  | { readonly kind: "ignored"; readonly lines: number };

/** Longest status and progress kept, in characters: one terminal line or two. */
export const MAX_NOTIFY_TEXT_CHARS = 256;
/** Lines looked at in one datagram; 4096 bytes of shortest fields are about as many. */
const MAX_LINES = 1_024;
/** Longest period or extension that a bot may ask for: 30 days. Beyond, the sender means something else. */
const MAX_PERIOD_USEC = 30 * 86_400 * 1_000_000;
/** Linux' highest pid (PID_MAX_LIMIT). */
const MAX_PID = 4_194_304;

type Parser = (value: string) => NotifyMessage | undefined;

const PARSERS: ReadonlyMap<string, Parser> = new Map<string, Parser>([
  ["STATUS", parseStatus],
  ["WATCHDOG", parseWatchdog],
  [
    "WATCHDOG_USEC",
    (value) => within(value, MAX_PERIOD_USEC, (usec) => ({ kind: "watchdogPeriod", periodMs: toMs(usec) })),
  ],
  [
    "EXTEND_TIMEOUT_USEC",
    (value) => within(value, MAX_PERIOD_USEC, (usec) => ({ kind: "extendTimeout", extendMs: toMs(usec) })),
  ],
  ["MAINPID", (value) => within(value, MAX_PID, (pid) => (pid > 0 ? { kind: "mainPid", pid } : undefined))],
  ["ERRNO", (value) => within(value, 4_095, (errno) => ({ kind: "errno", errno }))],
  ["EXIT_STATUS", (value) => within(value, 255, (status) => ({ kind: "exitStatus", status }))],
  ["RESTART_RESET", flag({ kind: "restartReset" })],
  ["BARRIER", flag({ kind: "barrier" })],
  ["NOTIFYACCESS", parseAccess],
  ["FDSTORE", flag({ kind: "fdStore" })],
  ["X_PROGRESS", (value) => ({ kind: "progress", value: clip(value) })],
  ["X_IN_FLIGHT", (value) => within(value, Number.MAX_SAFE_INTEGER, (count) => ({ kind: "inFlight", count }))],
  ["X_EXPOSURE", parseExposure],
]);

/** Fields of a descriptor store message that change nothing without the store, and the stamp that belongs to RELOADING. */
const SILENT_FIELDS: ReadonlySet<string> = new Set(["FDNAME", "FDPOLL", "FDSTOREREMOVE", "MONOTONIC_USEC"]);

/**
 * Statements of one datagram, in its order, the change of state first. Of STOPPING, READY and RELOADING the first of this
 * row counts and the others are void. Never throws; at most one entry a line.
 */
export function parseNotify(text: string): NotifyMessage[] {
  const fields = text.split("\n", MAX_LINES).filter((line) => line !== "");
  const messages: NotifyMessage[] = stateOf(new Set(fields), text);
  let ignored = 0;
  for (const field of fields) {
    if (/^(?:STOPPING|READY|RELOADING)=1$/.test(field)) continue;
    const equals = field.indexOf("=");
    const name = field.slice(0, Math.max(equals, 0));
    const message = PARSERS.get(name)?.(field.slice(equals + 1));
    if (message !== undefined) messages.push(message);
    else if (!SILENT_FIELDS.has(name)) ignored += 1;
  }
  if (ignored > 0) messages.push({ kind: "ignored", lines: ignored });
  return messages;
}

function stateOf(fields: ReadonlySet<string>, text: string): NotifyMessage[] {
  if (fields.has("STOPPING=1")) return [{ kind: "stopping" }];
  if (fields.has("READY=1")) return [{ kind: "ready" }];
  if (!fields.has("RELOADING=1")) return [];
  const stamp = /^MONOTONIC_USEC=(\d{1,16})$/m.exec(text)?.[1];
  return [{ kind: "reloading", monotonicUsec: stamp === undefined ? undefined : parseCount(stamp) }];
}

/** A status with bytes that were not UTF-8 is ignored; control characters would act on the operator's terminal. */
function parseStatus(value: string): NotifyMessage | undefined {
  return value.includes("\uFFFD") ? undefined : { kind: "status", text: clip(value) };
}

function parseWatchdog(value: string): NotifyMessage | undefined {
  if (value === "1") return { kind: "watchdog" };
  return value === "trigger" ? { kind: "watchdogTrigger" } : undefined;
}

function parseAccess(value: string): NotifyMessage | undefined {
  const access = (["none", "main", "exec", "all"] as const).find((known) => known === value);
  return access === undefined ? undefined : { kind: "notifyAccess", access };
}

function parseExposure(value: string): NotifyMessage | undefined {
  const amount = Number(value);
  const written = /^[+-]?\d[\d.]*(?:e[+-]?\d+)?$/i.test(value);
  return written && Number.isFinite(amount) ? { kind: "exposure", amount } : undefined;
}

function flag(message: NotifyMessage): Parser {
  return (value) => (value === "1" ? message : undefined);
}

function within(
  value: string,
  max: number,
  make: (count: number) => NotifyMessage | undefined,
): NotifyMessage | undefined {
  const count = parseCount(value);
  return count === undefined || count > max ? undefined : make(count);
}

/** A whole number as the protocol writes it; `undefined` for anything else. */
function parseCount(value: string): number | undefined {
  const count = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(count) ? count : undefined;
}

/** Up to a millisecond more rather than less: a period below 1 ms must not become 0, which means off. */
function toMs(usec: number): number {
  return Math.ceil(usec / 1_000);
}

/** One printable line of bounded length; half a surrogate pair at the cut is dropped. */
function clip(value: string): string {
  const printable = value.replace(/\p{Cc}/gu, " ");
  return printable.length <= MAX_NOTIFY_TEXT_CHARS
    ? printable
    : printable.slice(0, MAX_NOTIFY_TEXT_CHARS).replace(/[\uD800-\uDBFF]$/, "");
}
