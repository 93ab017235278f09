/**
 * Objects in a bucket that speaks S3. Bun's client signs, fetch transfers: the client by itself waits for ever, and tries a
 * single upload only once. Here every request has a deadline, and what may pass (5xx, 429, the network) is tried again.
 */
import type { RemoteSettings } from "../../core/backup-remote.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import { Failure } from "./failure.ts";
import { listingUrl, readListing, type ListingPage } from "./s3-list.ts";
import { asPassing, errorOf, messageOf, PassingError, RefusedError } from "./s3-errors.ts";

/** Tries of one request; with the waits between them some half a minute of a store that does not answer. */
const MAX_TRIES = 6;
const BASE_WAIT_MS = 500;
const MAX_WAIT_MS = 15_000;
/** Asked for at once: what a store sends faster than it is read piles up in memory, as the runtime holds no sender back. */
const WINDOW_BYTES = 4 * 1_024 ** 2;
/** A transfer slower than this is given up, bytes per second. */
const MIN_RATE = 64 * 1_024;
/** A signed address is used at once; it outlives the transfer, and clocks that differ a little, seconds. */
const SIGNED_SECONDS = 3_600;
/** Keys of one target: a hundred backups of a thousand parts. */
const MAX_KEYS = 200_000;
const PAGE_KEYS = 1_000;

export interface ObjectFacts {
  readonly bytes: number;
  /** MD5 of the content where the store does not encrypt with keys of its own; without quotes. */
  readonly etag: string;
}

export interface S3Deps {
  readonly clock: Clock;
  /** In [0, 1); for the waits between tries. */
  readonly random?: () => number;
  /** Tries of one request; default: 6. */
  readonly maxTries?: number;
}

type Method = "GET" | "HEAD" | "PUT" | "DELETE";
interface Sending {
  readonly body?: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Window {
  readonly from: number;
  /** First byte that is not wanted; `undefined`: all are. */
  readonly to: number | undefined;
}

export class Bucket {
  readonly #settings: RemoteSettings;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #maxTries: number;
  readonly #client: Bun.S3Client;

  constructor(settings: RemoteSettings, { clock, random = Math.random, maxTries = MAX_TRIES }: S3Deps) {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = settings;
    this.#settings = settings;
    this.#clock = clock;
    this.#random = random;
    this.#maxTries = maxTries;
    this.#client = new Bun.S3Client({ endpoint, bucket, region, accessKeyId, secretAccessKey });
  }

  /** Where it is, for people. */
  get place(): string {
    return `the bucket ${this.#settings.bucket} at ${this.#settings.endpoint}`;
  }

  /** `md5` in base64: the store refuses a body that comes to it otherwise. Returns the ETag. */
  put(key: string, body: Bun.BunFile | Uint8Array<ArrayBuffer>, size: { bytes: number; md5: string }): Promise<string> {
    return this.#try(`write ${key}`, size.bytes, async (signal) => {
      const headers = { "content-md5": size.md5, "content-length": String(size.bytes) };
      // A file as a stream, anew for each try: over TLS the runtime would otherwise hold all of it in memory.
      const sent = body instanceof Uint8Array ? body : body.stream();
      const response = await this.#fetch("PUT", key, signal, { body: sent, headers });
      return etagOf(response);
    });
  }

  /** `undefined` when there is no such object. */
  head(key: string): Promise<ObjectFacts | undefined> {
    return this.#try(`look at ${key}`, 0, async (signal) => {
      const response = await this.#fetch("HEAD", key, signal);
      if (response.status === 404) return undefined;
      return { bytes: Number(response.headers.get("content-length")), etag: etagOf(response) };
    });
  }

  /** The whole of a small object; `undefined` when there is none. Throws when it is larger than `maxBytes`. */
  get(key: string, maxBytes: number): Promise<string | undefined> {
    return this.#try(`read ${key}`, maxBytes, async (signal) => {
      const response = await this.#fetch("GET", key, signal);
      if (response.status === 404) return undefined;
      const body = new Uint8Array(await response.arrayBuffer());
      const expected = lengthOf(response);
      if (expected !== undefined && body.length < expected) throw new PassingError("the answer was cut off");
      if (body.length > maxBytes) throw new RefusedError("TooLarge", `it is larger than ${maxBytes} bytes`);
      return Buffer.from(body).toString("utf8");
    });
  }

  /**
   * The bytes of an object; what was cut off goes on where it ended. An object that is shorter than `bytes` ends early, and
   * a longer one late: it is the reader who knows the checksum. Throws when there is no such object.
   */
  async *read(key: string, bytes: number): AsyncGenerator<Uint8Array> {
    let done = 0;
    for (let tries = 1; ;) {
      // What is left, unless that is more than may lie here unread.
      const to = bytes - done > WINDOW_BYTES ? done + WINDOW_BYTES : undefined;
      try {
        const signal = AbortSignal.timeout(this.#deadlineMs((to ?? bytes) - done));
        for await (const piece of this.#body(key, { from: done, to }, signal)) {
          done += piece.length;
          yield piece;
        }
        if (to === undefined || done < to || done >= bytes) return;
        tries = 1;
      } catch (cause) {
        const passing = asPassing(cause);
        if (passing === undefined || tries >= this.#maxTries) throw this.#failure(`read ${key}`, cause);
        await this.#wait(tries);
        tries += 1;
      }
    }
  }

  /** Also when there is no such object. */
  remove(key: string): Promise<void> {
    return this.#try(`delete ${key}`, 0, async (signal) => {
      await this.#fetch("DELETE", key, signal);
    });
  }

  /** Every object whose key begins with `prefix`, as far as the store tells: a listing may lag behind. */
  async list(prefix: string): Promise<ListingPage["contents"]> {
    const objects: ListingPage["contents"][number][] = [];
    let token: string | undefined;
    do {
      // Each page names the next one.
      // oxlint-disable-next-line no-await-in-loop
      const page = await this.page(prefix, PAGE_KEYS, token);
      objects.push(...page.contents);
      if (objects.length > MAX_KEYS)
        throw new Failure("remote", `there are more than ${MAX_KEYS} objects in ${prefix}`);
      token = page.next;
    } while (token !== undefined);
    return objects;
  }

  /** One page of a listing. */
  page(prefix: string, maxKeys: number, token?: string): Promise<ListingPage> {
    return this.#try(`list ${prefix}`, 0, async (signal) => {
      const query = { prefix, maxKeys, token, expiresInSeconds: SIGNED_SECONDS };
      const url = listingUrl(this.#settings, query, this.#clock.wallTime());
      const response = await this.#send(url, { signal });
      if (!response.ok) throw await errorOf(response, this.#settings);
      const text = await response.text();
      const expected = lengthOf(response);
      if (expected !== undefined && Buffer.byteLength(text) < expected)
        throw new PassingError("the answer was cut off");
      return readListing(text);
    });
  }

  async *#body(key: string, { from, to }: Window, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const whole = from === 0 && to === undefined;
    const range = `bytes=${from}-${to === undefined ? "" : to - 1}`;
    const headers = { "accept-encoding": "identity", ...(whole ? {} : { range }) };
    const response = await this.#fetch("GET", key, signal, { headers });
    // Nothing is left after the last byte.
    if (response.status === 416) return;
    if (response.status === 404) throw new RefusedError("NoSuchKey", "there is no such object");
    // A store that knows no ranges begins anew.
    let skip = response.status === 206 ? 0 : from;
    let got = 0;
    for await (const piece of response.body ?? []) {
      got += piece.length;
      const fresh = piece.subarray(Math.min(skip, piece.length));
      skip -= piece.length - fresh.length;
      if (fresh.length > 0) yield fresh;
    }
    const expected = lengthOf(response);
    if (expected !== undefined && got < expected) throw new PassingError("the answer was cut off");
  }

  /** Answers 2xx, 404 for an object that is not there, and 416; throws for the others. */
  async #fetch(method: Method, key: string, signal: AbortSignal, { body, headers = {} }: Sending = {}) {
    const url = this.#client.presign(key, { method, expiresIn: SIGNED_SECONDS });
    const response = await this.#send(url, {
      method,
      headers: { ...headers },
      signal,
      ...(body === undefined ? {} : { body }),
    });
    if (response.ok || response.status === 416) return response;
    const error = await errorOf(response, this.#settings);
    const noBucket = error instanceof RefusedError && error.code === "NoSuchBucket";
    if (response.status === 404 && !noBucket && method !== "PUT") return response;
    throw error;
  }

  #send(url: string, request: RequestInit): Promise<Response> {
    const { ca } = this.#settings;
    // A redirect would take the body, and the signature, to another place.
    return fetch(url, { ...request, redirect: "manual", ...(ca === undefined ? {} : { tls: { ca } }) });
  }

  async #try<Value>(what: string, bytes: number, deed: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    for (let tries = 1; ; tries += 1) {
      try {
        // One try after the other.
        // oxlint-disable-next-line no-await-in-loop
        return await deed(AbortSignal.timeout(this.#deadlineMs(bytes)));
      } catch (cause) {
        const passing = asPassing(cause);
        if (passing === undefined || tries >= this.#maxTries) throw this.#failure(what, cause);
        // Safe: a pause between two tries.
        // oxlint-disable-next-line no-await-in-loop
        await this.#wait(tries);
      }
    }
  }

  #deadlineMs(bytes: number): number {
    return Math.ceil(this.#settings.timeoutMs + (bytes / MIN_RATE) * 1_000);
  }

  /** Longer after each try, and never the same for two that were refused together. */
  #wait(tries: number): Promise<void> {
    const longest = Math.min(MAX_WAIT_MS, BASE_WAIT_MS * 2 ** tries, this.#settings.timeoutMs);
    return sleep(this.#clock, longest * (0.5 + this.#random() / 2));
  }

  #failure(what: string, cause: unknown): Failure {
    if (cause instanceof Failure) return cause;
    const why = asPassing(cause)?.message ?? messageOf(cause);
    // An object that must be there and is not is damage, whoever took it away.
    const gone = cause instanceof RefusedError && cause.code === "NoSuchKey";
    return new Failure(gone ? "verify" : "remote", `cannot ${what} in ${this.place}: ${why}`, { cause });
  }
}

function etagOf(response: Response): string {
  return (response.headers.get("etag") ?? "").replaceAll('"', "");
}

function lengthOf(response: Response): number | undefined {
  const text = response.headers.get("content-length");
  return text === null ? undefined : Number(text);
}
