/**
 * What a bot says to its supervisor: systemd's notify protocol (sd_notify(3)) on NOTIFY_SOCKET, or, where that cannot be
 * used, `POST /v1/heartbeat` on SUPERVISOR_SOCKET. Saying something never blocks the bot and never throws.
 */
import { datagramSender, type DatagramSender } from "./datagram.ts";
import { postToSocket } from "./socket-post.ts";

/** Assignments of the notify protocol, for example `{ WATCHDOG: 1, STATUS: "2 positions open" }`. */
export type NotifyFields = Readonly<Record<string, string | number>>;

export interface Notifier {
  /** How it speaks; `none` when the environment names no supervisor. */
  readonly via: "datagram" | "heartbeat" | "none";
  /** Says `fields`; `false` when they were dropped: no supervisor, a full socket, or a heartbeat still under way. */
  send(fields: NotifyFields): boolean;
  /** Says READY=1. */
  ready(): boolean;
  /** Frees the socket and gives up a heartbeat that is under way; later calls of `send` do nothing. */
  close(): void;
}

/** Longest message: larger datagrams are refused by libsystemd's readers, too. */
const MAX_MESSAGE_BYTES = 4_096;
/** How long a heartbeat over HTTP may take, ms; a later one says the same. */
const HEARTBEAT_TIMEOUT_MS = 2_000;

/** Makes the bot's voice from its environment (`NOTIFY_SOCKET`, `SUPERVISOR_SOCKET`). */
export function createNotifier(env: Readonly<Record<string, string | undefined>>): Notifier {
  const address = env["NOTIFY_SOCKET"];
  const sender = address === undefined || address === "" ? undefined : datagramSender(address);
  if (sender !== undefined) return datagramNotifier(sender);
  const socket = env["SUPERVISOR_SOCKET"];
  if (socket !== undefined && socket !== "") return heartbeatNotifier(socket);
  return { via: "none", send: () => false, ready: () => false, close: () => undefined };
}

function datagramNotifier(sender: DatagramSender): Notifier {
  const send = (fields: NotifyFields): boolean => {
    const message = new TextEncoder().encode(formatFields(fields));
    return message.byteLength <= MAX_MESSAGE_BYTES && sender.send(message);
  };
  return { via: "datagram", send, ready: () => send({ READY: 1 }), close: () => sender.close() };
}

/** One assignment a line; a line break inside a value would start another assignment, so it becomes a space. */
export function formatFields(fields: NotifyFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${String(value).replace(/[\r\n]+/g, " ")}`)
    .join("\n");
}

function heartbeatNotifier(socket: string): Notifier {
  const closed = new AbortController();
  let busy = false;
  const send = (fields: NotifyFields): boolean => {
    // At most one under way: a supervisor that hangs must not make the bot pile up requests.
    if (busy || closed.signal.aborted) return false;
    busy = true;
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(HEARTBEAT_TIMEOUT_MS)]);
    void postToSocket({ socket, path: HEARTBEAT_PATH, body: JSON.stringify(heartbeatBody(fields)), signal })
      .catch(() => undefined)
      .finally(() => {
        busy = false;
      });
    return true;
  };
  return { via: "heartbeat", send, ready: () => send({ READY: 1 }), close: () => closed.abort() };
}

const HEARTBEAT_PATH = "/v1/heartbeat";

/** The fields that a heartbeat has a place for. */
export function heartbeatBody(fields: NotifyFields): Record<string, string | number> {
  const body: Record<string, string | number> = {};
  if (fields["STATUS"] !== undefined) body["status"] = String(fields["STATUS"]);
  if (fields["X_PROGRESS"] !== undefined) body["progress"] = fields["X_PROGRESS"];
  if (fields["X_IN_FLIGHT"] !== undefined) body["inFlight"] = Number(fields["X_IN_FLIGHT"]);
  if (fields["X_EXPOSURE"] !== undefined) body["exposure"] = Number(fields["X_EXPOSURE"]);
  return body;
}
