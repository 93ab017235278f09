/**
 * A store that speaks S3 as far as backups need it, and is as strict as the real one: it checks every signature
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html), checksums and dates. It fails on demand.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer as createTlsServer } from "node:https";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { RemoteSettings } from "../../src/core/backup-remote.ts";

const ACCESS_KEY = "AKTESTKEY";
const SECRET_KEY = "test-secret/with+signs=";
const REGION = "eu-test-1";
const BUCKET = "vault";
const MAX_SKEW_MS = 15 * 60_000;
const MAX_OBJECT_BYTES = 64 * 1_024 ** 2;
const PAGE_KEYS = 1_000;

/** 503: refuses; hang: never answers; reset: ends the connection; cut: sends half of the answer; lose: does it and then does not answer. */
type FaultKind = 503 | 403 | "hang" | "reset" | "cut" | "lose";

interface Fault {
  readonly kind: FaultKind;
  readonly method: string;
  readonly key: RegExp;
  /** Requests that it still strikes. */
  left: number;
}

export interface Request {
  readonly method: string;
  /** "" for a listing. */
  readonly key: string;
  readonly bytes: number;
}

/** PEM. */
interface Certified {
  readonly key: string;
  readonly cert: string;
}

export class S3Server implements AsyncDisposable {
  readonly objects = new Map<string, Buffer>();
  readonly requests: Request[] = [];
  /** It answers with the whole object whatever part is asked for. */
  rangeless = false;
  /** Keys in one page of a listing. */
  pageKeys = PAGE_KEYS;
  readonly #faults: Fault[] = [];
  readonly #server: Server;
  readonly #scheme: "http" | "https";
  /** What a listing shows while it lags behind. */
  #listed: ReadonlyMap<string, Buffer> | undefined;

  private constructor(tls: Certified | undefined) {
    const answer = (request: IncomingMessage, response: ServerResponse): void => void this.#answer(request, response);
    this.#scheme = tls === undefined ? "http" : "https";
    this.#server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
  }

  /** Over TLS when it is given a certificate for 127.0.0.1. */
  static async start(tls?: Certified): Promise<S3Server> {
    const store = new S3Server(tls);
    await new Promise<void>((ready) => store.#server.listen(0, "127.0.0.1", ready));
    return store;
  }

  get endpoint(): string {
    // Safe: it listens on a port, not on a pipe.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  settings(more: Partial<RemoteSettings> = {}): RemoteSettings {
    return {
      endpoint: this.endpoint,
      bucket: BUCKET,
      prefix: "bot 1/backups",
      region: REGION,
      accessKeyId: ACCESS_KEY,
      secretAccessKey: SECRET_KEY,
      timeoutMs: 20_000,
      ...more,
    };
  }

  /** The next `times` requests of this method for a matching key fail in this way; listings have the key "". */
  fail(kind: FaultKind, method: string, key: RegExp, times = 1): void {
    this.#faults.push({ kind, method, key, left: times });
  }

  /** From here on listings show what is there now, whatever is written or deleted. */
  freezeListing(): void {
    this.#listed = new Map(this.objects);
  }

  thawListing(): void {
    this.#listed = undefined;
  }

  keys(pattern = /./): readonly string[] {
    return [...this.objects.keys()].filter((key) => pattern.test(key)).toSorted();
  }

  /** Changes one bit of an object. */
  damage(key: string): void {
    const bytes = Buffer.from(this.objects.get(key) ?? "");
    const at = Math.floor(bytes.length / 2);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    this.objects.set(key, bytes);
  }

  sent(method: string, pattern = /./): readonly string[] {
    return this.requests.filter((each) => each.method === method && pattern.test(each.key)).map(({ key }) => key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((closed) => this.#server.close(() => closed()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/", headers } = request;
    const address = new URL(url, "http://store");
    const [bucket = "", ...rest] = address.pathname.slice(1).split("/");
    const key = decodeURIComponent(rest.join("/"));
    const body = await bodyOf(request);
    this.requests.push({ method, key, bytes: body.length });
    const fault = this.#faults.find((each) => each.left > 0 && each.method === method && each.key.test(key));
    if (fault !== undefined) fault.left -= 1;
    if (fault?.kind === "hang") return;
    if (fault?.kind === "reset") return void request.socket.destroy();
    if (fault?.kind === 503) return refuse(response, 503, "SlowDown");
    if (fault?.kind === 403) return refuse(response, 403, "AccessDenied");
    const error = forgery(method, address, headers) ?? wrongBody(headers, body);
    if (error !== undefined) return refuse(response, error === "BadDigest" ? 400 : 403, error);
    if (bucket !== BUCKET) return refuse(response, 404, "NoSuchBucket");
    const result = this.#serve(method, key, { address, range: headers.range, body });
    if (fault?.kind === "lose") return void request.socket.destroy();
    response.writeHead(result.status, {
      etag: result.etag,
      "content-length": String(result.bytes ?? result.body.length),
    });
    if (fault?.kind !== "cut") return void response.end(method === "HEAD" ? undefined : result.body);
    response.write(result.body.subarray(0, Math.floor(result.body.length / 2)), () => request.socket.destroy());
  }

  #serve(
    method: string,
    key: string,
    { address, range, body }: { readonly address: URL; readonly range: string | undefined; readonly body: Buffer },
  ): { readonly status: number; readonly body: Buffer; readonly etag: string; readonly bytes?: number } {
    const nothing = Buffer.alloc(0);
    if (key === "") return { status: 200, body: this.#list(address.searchParams), etag: "" };
    if (method === "PUT") {
      if (body.length > MAX_OBJECT_BYTES) return { status: 400, body: errorXml("EntityTooLarge"), etag: "" };
      this.objects.set(key, body);
      return { status: 200, body: nothing, etag: etagOf(body) };
    }
    if (method === "DELETE") {
      this.objects.delete(key);
      return { status: 204, body: nothing, etag: "" };
    }
    const object = this.objects.get(key);
    if (object === undefined) return { status: 404, body: errorXml("NoSuchKey"), etag: "" };
    if (method === "HEAD") return { status: 200, body: nothing, etag: etagOf(object), bytes: object.length };
    const [, first, last] = (this.rangeless ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? "")) ?? [];
    if (first === undefined) return { status: 200, body: object, etag: etagOf(object) };
    const [from, to] = [Number(first), last === "" ? object.length : Number(last) + 1];
    if (from > 0 && from >= object.length) return { status: 416, body: errorXml("InvalidRange"), etag: "" };
    return { status: 206, body: object.subarray(from, to), etag: etagOf(object) };
  }

  #list(query: URLSearchParams): Buffer {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("continuation-token") ?? "";
    const most = Math.min(Number(query.get("max-keys") ?? PAGE_KEYS), this.pageKeys);
    const keys = [...(this.#listed ?? this.objects).entries()]
      .filter(([key]) => key.startsWith(prefix) && key > after)
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    const page = keys.slice(0, most);
    const more = keys.length > page.length;
    const contents = page.map(
      ([key, bytes]) =>
        `<Contents><Key>${key.replaceAll("&", "&amp;")}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"${etagOf(bytes)}"</ETag><Size>${bytes.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
    );
    const next = more ? `<NextContinuationToken>${page.at(-1)?.[0] ?? ""}</NextContinuationToken>` : "";
    return Buffer.from(
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${BUCKET}</Name><Prefix>${prefix}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${most}</MaxKeys><IsTruncated>${more}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
    );
  }
}

/** The error code for a request whose signature is not right; `undefined` for one that is. */
function forgery(method: string, address: URL, headers: IncomingMessage["headers"]): string | undefined {
  const query = address.searchParams;
  const authorization = /^AWS4-HMAC-SHA256 Credential=(\S+?),\s*SignedHeaders=(\S+?),\s*Signature=([0-9a-f]+)$/.exec(
    headers.authorization ?? "",
  );
  const credential = authorization?.[1] ?? query.get("X-Amz-Credential");
  const signed = (authorization?.[2] ?? query.get("X-Amz-SignedHeaders") ?? "").split(";");
  const signature = authorization?.[3] ?? query.get("X-Amz-Signature") ?? "";
  const date = authorization === null ? (query.get("X-Amz-Date") ?? "") : String(headers["x-amz-date"] ?? "");
  const [accessKey, day = "", region, service, end] = (credential ?? "").split("/");
  if (credential === null || signature === "") return "AccessDenied";
  if (accessKey !== ACCESS_KEY) return "InvalidAccessKeyId";
  if (region !== REGION || service !== "s3" || end !== "aws4_request") return "AuthorizationHeaderMalformed";
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (!(Math.abs(Date.now() - at) < MAX_SKEW_MS)) return "RequestTimeTooSkewed";
  if (Object.keys(headers).some((name) => name.startsWith("x-amz-") && !signed.includes(name))) return "AccessDenied";
  const canonical = [
    method,
    address.pathname,
    [...query.entries()]
      .filter(([name]) => name !== "X-Amz-Signature")
      .map(([name, value]) => `${strictly(name)}=${strictly(value)}`)
      .toSorted()
      .join("&"),
    ...signed.map((name) => `${name}:${String(headers[name] ?? "").trim()}`),
    "",
    signed.join(";"),
    authorization === null ? "UNSIGNED-PAYLOAD" : String(headers["x-amz-content-sha256"] ?? ""),
  ].join("\n");
  const scope = [day, region, service, end].join("/");
  const text = ["AWS4-HMAC-SHA256", date, scope, createHash("sha256").update(canonical).digest("hex")].join("\n");
  const keyed = [day, region, service, end].reduce<Buffer>(
    (key, part) => hmac(key, part),
    Buffer.from(`AWS4${SECRET_KEY}`),
  );
  const [expected, given] = [hmac(keyed, text), Buffer.from(signature, "hex")];
  return given.length === expected.length && timingSafeEqual(given, expected) ? undefined : "SignatureDoesNotMatch";
}

function wrongBody(headers: IncomingMessage["headers"], body: Buffer): string | undefined {
  const md5 = headers["content-md5"];
  return md5 === undefined || md5 === createHash("md5").update(body).digest("base64") ? undefined : "BadDigest";
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function strictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of request) pieces.push(Buffer.from(piece));
  } catch {
    // The sender went away.
  }
  return Buffer.concat(pieces);
}

function etagOf(bytes: Buffer): string {
  return `"${createHash("md5").update(bytes).digest("hex")}"`;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const body = errorXml(code);
  response.writeHead(status, { "content-type": "application/xml", "content-length": String(body.length) });
  response.end(body);
}

function errorXml(code: string): Buffer {
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
}
