/** A connection to a Redis server that says why it failed (https://redis.io/docs/latest/develop/reference/protocol-spec/, RESP2). */
import { createConnection, type Socket } from "node:net";
import type { RedisPlace } from "../core/redis-url.ts";
import { sleep, systemClock } from "./clock.ts";

/** Longest wait for a connection and for each reply: none of our commands works on data. */
const REPLY_TIMEOUT_MS = 15_000;
/** A reply of INFO is some kilobytes, a value that is compared may be large. */
const MAX_REPLY_BYTES = 64 * 1_024 ** 2;

/** What a server answers to the commands that we use; of a list, the text of each entry. */
type Reply = string | number | null | readonly (string | number | null)[];

/** The server answered with an error, as `NOAUTH Authentication required.` */
export class RedisReplyError extends Error {}

type Encoding = "utf8" | "latin1";

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export class RedisConnection {
  readonly #socket: Socket;
  readonly #encoding: Encoding;
  readonly #waiting: Waiting[] = [];
  #received: Buffer = Buffer.alloc(0);
  #ended: Error | undefined;

  private constructor(socket: Socket, encoding: Encoding) {
    this.#socket = socket;
    this.#encoding = encoding;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("error", (error: Error) => this.#end(error));
    socket.on("close", () => this.#end(new Error("the server closed the connection")));
  }

  /** Throws `cannot connect to PLACE: why`, without the password. With latin1 every byte of a key or value is one character. */
  static async open(place: RedisPlace, password?: string, encoding: Encoding = "utf8"): Promise<RedisConnection> {
    const { at, username } = place;
    const shown = at.kind === "unix" ? at.path : `${at.host}:${at.port}`;
    const socket = createConnection(at.kind === "unix" ? { path: at.path } : { host: at.host, port: at.port });
    const connection = new RedisConnection(socket, encoding);
    try {
      if (password !== undefined)
        await connection.command("AUTH", ...(username === undefined ? [] : [username]), password);
      await connection.command("PING");
      return connection;
    } catch (cause) {
      connection.close();
      throw new Error(`cannot connect to ${shown}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Sends one command and waits for its reply. Throws `RedisReplyError` for an error of the server. */
  async command(...words: readonly string[]): Promise<Reply> {
    if (this.#ended !== undefined) throw this.#ended;
    const reply = new Promise<Reply>((resolve, reject) => void this.#waiting.push({ resolve, reject }));
    this.#socket.write(
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word, this.#encoding)}\r\n${word}\r\n`).join("")}`,
      this.#encoding,
    );
    const over = new AbortController();
    const late = sleep(systemClock, REPLY_TIMEOUT_MS, over.signal).then(() => "late" as const);
    try {
      const first = await Promise.race([reply.then((value) => ({ value })), late]);
      if (first !== "late") return first.value;
      // The reply would be taken for that of the next command.
      this.#end(new Error(`the server did not answer for ${REPLY_TIMEOUT_MS / 1_000} s`));
      return await reply;
    } finally {
      over.abort();
    }
  }

  /** The fields of some sections of INFO. */
  async info(...sections: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const fields = new Map<string, string>();
    for (const section of sections) {
      // One after the other: they are answered in order anyway.
      // oxlint-disable-next-line no-await-in-loop
      const text = String(await this.command("INFO", section));
      for (const line of text.split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
      }
    }
    return fields;
  }

  close(): void {
    this.#end(new Error("the connection is closed"));
  }

  #take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    if (this.#received.length > MAX_REPLY_BYTES) return this.#end(new Error("its reply is too long"));
    try {
      for (let found = this.#read(); found !== undefined; found = this.#read()) {
        this.#received = this.#received.subarray(found.end);
        const waiting = this.#waiting.shift();
        if (found.reply instanceof Error) waiting?.reject(found.reply);
        else waiting?.resolve(found.reply);
      }
    } catch (cause) {
      this.#end(new Error(`it is no Redis server: ${messageOf(cause)}`, { cause }));
    }
  }

  #read(): Found | undefined {
    return readReply(this.#received, 0, this.#encoding);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}

type Span = { readonly at: number; readonly length: number };
type Found = { readonly reply: Reply | Error; readonly end: number };

/** The reply that begins at `at`; `undefined` while it is not whole. Throws for what is none. */
function readReply(bytes: Buffer, at: number, encoding: Encoding): Found | undefined {
  const lineEnd = bytes.indexOf("\r\n", at);
  if (lineEnd < 0) return undefined;
  const text = bytes.toString(encoding, at + 1, lineEnd);
  const after = lineEnd + 2;
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case "+":
      return { reply: text, end: after };
    case "-":
      return { reply: new RedisReplyError(text), end: after };
    case ":":
      return { reply: Number(text), end: after };
    case "$":
      return readText(bytes, { at: after, length: Number(text) }, encoding);
    case "*":
      return readList(bytes, { at: after, length: Number(text) }, encoding);
    default:
      throw new Error("its reply is of no known kind");
  }
}

function readText(bytes: Buffer, { at, length }: Span, encoding: Encoding): Found | undefined {
  if (length < 0) return { reply: null, end: at };
  if (bytes.length < at + length + 2) return undefined;
  return { reply: bytes.toString(encoding, at, at + length), end: at + length + 2 };
}

function readList(bytes: Buffer, { at, length }: Span, encoding: Encoding): Found | undefined {
  const entries: (string | number | null)[] = [];
  let end = at;
  for (let n = 0; n < length; n += 1) {
    const found = readReply(bytes, end, encoding);
    if (found === undefined) return undefined;
    const { reply } = found;
    entries.push(typeof reply === "object" && reply !== null ? String(reply) : reply);
    end = found.end;
  }
  return { reply: entries, end };
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
