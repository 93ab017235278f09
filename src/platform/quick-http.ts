/** One request of HTTP/1.1 over a unix socket (RFC 9112), for answers with a length: see quick-io.ts for why it is not fetch. */
import { sleep, type Clock } from "./clock.ts";
import { quickIo, type QuickIo } from "./quick-io.ts";

export interface QuickRequest {
  /** Path of the unix socket. */
  readonly unix: string;
  readonly method: "GET" | "POST";
  /** Target of the request, without control characters or spaces. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** `undefined`: for as long as it takes. */
  readonly deadlineMs: number | undefined;
  /** Nobody waits for the answer any more: the command must not stay for it. */
  readonly isOver?: () => boolean;
  /** Sent before, on the same connection: the request follows once anything has come back, so that nobody gets it who does not answer. */
  readonly ping?: { readonly path: string; readonly deadlineMs: number };
}

export interface QuickAnswer {
  readonly status: number;
  readonly text: string;
}

/** The answer did not come in time. Its name is that of what `AbortSignal.timeout` throws. */
class QuickTimeoutError extends Error {
  override readonly name = "TimeoutError";
}

/** The connection was lost after the request was sent, or what came is no answer. */
class QuickLostError extends Error {
  readonly code = "ECONNRESET";
}

/** The thread waits for this long, then the event loop has its turn, ms. */
const SLICE_MS = 20;
const BUFFER_BYTES = 65_536;
/** Longest head of an answer, bytes: ours have some 150. */
const MAX_HEAD_BYTES = 16_384;

/**
 * `undefined` when it was not sent: no bun:ffi, nobody there, or not now; the caller then asks by fetch, which tells why.
 * Throws `QuickTimeoutError` and `QuickLostError`, after which it may have been carried out.
 */
export async function quickAsk(request: QuickRequest, clock: Clock): Promise<QuickAnswer | undefined> {
  const io = quickIo();
  const fd = io?.connect(request.unix);
  if (io === undefined || fd === undefined) return undefined;
  const { ping, deadlineMs, isOver = () => false } = request;
  const incoming = { io, fd, clock, isOver, bytes: new Uint8Array(BUFFER_BYTES), length: 0 };
  try {
    if (ping !== undefined) {
      if (!io.send(fd, encoded({ method: "GET", path: ping.path }))) return undefined;
      await takeMore(incoming, clock.monotonicMs(), ping.deadlineMs);
    }
    if (!io.send(fd, encoded(request))) return undefined;
    if (ping !== undefined) await takeAnswer(incoming, ping.deadlineMs);
    return await takeAnswer(incoming, deadlineMs);
  } finally {
    io.close(fd);
  }
}

function encoded({ method, path, body }: Pick<QuickRequest, "method" | "path" | "body">): Uint8Array {
  const encoder = new TextEncoder();
  const content = body === undefined ? "" : JSON.stringify(body);
  const length = encoder.encode(content).length;
  const about = body === undefined ? "" : "Content-Type: application/json\r\n";
  const head = `${method} ${path} HTTP/1.1\r\nHost: supervisor\r\n${about}Content-Length: ${length}\r\n\r\n`;
  return encoder.encode(head + content);
}

/** What has come on a connection and is not taken yet. */
interface Incoming {
  readonly io: QuickIo;
  readonly fd: number;
  readonly clock: Clock;
  readonly isOver: () => boolean;
  bytes: Uint8Array<ArrayBuffer>;
  length: number;
}

/** The next answer, once it is whole. */
async function takeAnswer(incoming: Incoming, deadlineMs: number | undefined): Promise<QuickAnswer> {
  const startedMs = incoming.clock.monotonicMs();
  let answer: Head | undefined;
  for (;;) {
    const { bytes, length } = incoming;
    answer ??= headOf(bytes.subarray(0, length));
    if (answer !== undefined && length >= answer.end) {
      const { status, start, end } = answer;
      const text = new TextDecoder().decode(bytes.subarray(start, end));
      bytes.copyWithin(0, end, length);
      incoming.length -= end;
      return { status, text };
    }
    if (length === bytes.length) incoming.bytes = grown(bytes, Math.max(answer?.end ?? 0, 2 * bytes.length));
    // Safe: one piece after the other.
    // oxlint-disable-next-line no-await-in-loop
    await takeMore(incoming, startedMs, deadlineMs);
  }
}

/** Waits for the next piece. */
async function takeMore(incoming: Incoming, startedMs: number, deadlineMs: number | undefined): Promise<void> {
  const { io, fd, clock, isOver, bytes, length } = incoming;
  for (;;) {
    const taken = io.receive(fd, bytes.subarray(length), SLICE_MS);
    if (taken !== undefined) {
      if (taken <= 0) throw new QuickLostError("the connection was closed before the whole answer was there");
      incoming.length += taken;
      return;
    }
    if (isOver()) throw new QuickLostError("nobody waits for the answer any more");
    if (deadlineMs !== undefined && clock.monotonicMs() - startedMs >= deadlineMs) throw new QuickTimeoutError("late");
    // Safe: one look after the other, with a turn of the loop between.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, 0);
  }
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(size);
  larger.set(bytes);
  return larger;
}

interface Head {
  readonly status: number;
  /** Where the content starts and ends, bytes from the start of the answer. */
  readonly start: number;
  readonly end: number;
}

/** `undefined` while it is not whole; throws `QuickLostError` on what is no head, or one without a length. */
function headOf(bytes: Uint8Array): Head | undefined {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, MAX_HEAD_BYTES));
  const size = text.indexOf("\r\n\r\n");
  if (size === -1 && text.length < MAX_HEAD_BYTES) return undefined;
  const head = text.slice(0, size + 2);
  const status = /^HTTP\/1\.[01] (?<status>\d{3})[ \r]/.exec(head)?.groups?.["status"];
  const length = /\r\ncontent-length: *(?<length>\d{1,9}) *\r\n/i.exec(head)?.groups?.["length"];
  if (size === -1 || status === undefined || length === undefined)
    throw new QuickLostError("what came is no answer of a supervisor");
  const start = size + 4;
  return { status: Number(status), start, end: start + Number(length) };
}
