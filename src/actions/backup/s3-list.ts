/**
 * The listing of a bucket (ListObjectsV2), signed here: Bun's client signs addresses of objects only, and its own listing takes no
 * certificate authority. https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and sigv4-query-string-auth.html.
 */
import { createHash, createHmac } from "node:crypto";
import type { RemoteSettings } from "../../core/backup-remote.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";

export interface ListingQuery {
  readonly prefix: string;
  readonly maxKeys: number;
  /** Of the page before; `undefined`: the first page. */
  readonly token: string | undefined;
  readonly expiresInSeconds: number;
}

export interface ListingPage {
  readonly contents: readonly { readonly key: string; readonly bytes: number }[];
  /** `undefined` after the last page. */
  readonly next: string | undefined;
}

/** The signed address of one page; `at` is the time of its signature. */
export function listingUrl(
  { endpoint, bucket, region, accessKeyId, secretAccessKey }: RemoteSettings,
  { prefix, maxKeys, token, expiresInSeconds }: ListingQuery,
  at: Date,
): string {
  const address = new URL(endpoint);
  const path = `${address.pathname.replace(/\/$/, "")}/${bucket}`;
  const date = at.toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = [date.slice(0, 8), region, "s3", "aws4_request"];
  const query = [
    ["X-Amz-Algorithm", ALGORITHM],
    ["X-Amz-Credential", [accessKeyId, ...scope].join("/")],
    ["X-Amz-Date", date],
    ["X-Amz-Expires", String(expiresInSeconds)],
    ["X-Amz-SignedHeaders", "host"],
    ...(token === undefined ? [] : [["continuation-token", token]]),
    ["list-type", "2"],
    ["max-keys", String(maxKeys)],
    ["prefix", prefix],
  ]
    .map(([name = "", value = ""]) => `${strictly(name)}=${strictly(value)}`)
    .join("&");
  const request = ["GET", path, query, `host:${address.host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
  const text = [ALGORITHM, date, scope.join("/"), createHash("sha256").update(request).digest("hex")].join("\n");
  const key = scope.reduce<Buffer>((from, part) => hmac(from, part), Buffer.from(`AWS4${secretAccessKey}`));
  return `${address.origin}${path}?${query}&X-Amz-Signature=${hmac(key, text).toString("hex")}`;
}

/** Throws for what is no listing, as the page of a proxy. */
export function readListing(xml: string): ListingPage {
  if (!/<ListBucketResult[\s>]/.test(xml) || !xml.includes("</ListBucketResult>"))
    throw new Error("its answer is no listing of a bucket");
  const contents = [...xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, object = ""]) => {
    const [key, size] = [textOf(object, "Key"), textOf(object, "Size")];
    if (key === undefined) throw new Error("its listing has an object without a key");
    return { key, bytes: size === undefined ? -1 : Number(size) };
  });
  const next = textOf(xml, "IsTruncated") === "true" ? textOf(xml, "NextContinuationToken") : undefined;
  return { contents, next };
}

function textOf(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text?.replaceAll(/&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));/g, (_, named, decimal, hex) =>
    typeof named === "string"
      ? (NAMED[named] ?? "")
      : String.fromCodePoint(typeof decimal === "string" ? Number(decimal) : Number.parseInt(String(hex), 16)),
  );
}

const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function strictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}
