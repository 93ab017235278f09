/** Requests to a store that speaks S3: every one signed right, in time, and tried again when that may help. */
import { createHash } from "node:crypto";
import { expect, test, vi } from "vitest";
import { readListing } from "../../../src/actions/backup/s3-list.ts";
import { Bucket } from "../../../src/actions/backup/s3.ts";
import type { RemoteSettings } from "../../../src/core/backup-remote.ts";
import type { Clock } from "../../../src/platform/clock.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { makeCertificates } from "../../harness/certificates.ts";
import { S3Server } from "../../harness/s3-server.ts";

/** A machine that is ten times slower is no fault. */
vi.setConfig({ testTimeout: 120_000 });

/** Waits between tries are over at once. */
const hasty: Clock = { ...systemClock, after: (_delay, callback) => systemClock.after(0, callback) };

function bucketOf(settings: RemoteSettings): Bucket {
  return new Bucket(settings, { clock: hasty });
}

function put(bucket: Bucket, key: string, text: string): Promise<string> {
  const bytes = Buffer.from(text);
  return bucket.put(key, bytes, { bytes: bytes.length, md5: createHash("md5").update(bytes).digest("base64") });
}

async function readAll(bucket: Bucket, key: string, bytes: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of bucket.read(key, bytes)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

test.each(["plain", "with space/and+plus", "ü/é=&?#%25", "a'(b)*!~"])(
  "Bucket signs each kind of request for the key %s so that a strict store takes it",
  async (key) => {
    await using store = await S3Server.start();
    const bucket = bucketOf(store.settings());
    await put(bucket, key, "hello");
    expect(await bucket.get(key, 10)).toBe("hello");
    expect(await readAll(bucket, key, 5)).toBe("hello");
    expect(await bucket.head(key)).toEqual({ bytes: 5, etag: createHash("md5").update("hello").digest("hex") });
    expect(await bucket.list(key.slice(0, 3))).toEqual([{ key, bytes: 5 }]);
    await bucket.remove(key);
    expect(await bucket.head(key)).toBeUndefined();
    expect(await bucket.get(key, 10)).toBeUndefined();
  },
);

test("list() goes through all pages", async () => {
  await using store = await S3Server.start();
  store.pageKeys = 3;
  for (let n = 0; n < 10; n += 1) store.objects.set(`p/${n}`, Buffer.from("x"));
  expect(await bucketOf(store.settings()).list("p/")).toHaveLength(10);
});

test.concurrent.each([503, "hang", "reset", "cut"] as const)("each request survives %s of the store", async (fault) => {
  await using store = await S3Server.start();
  const bucket = bucketOf(store.settings({ timeoutMs: fault === "hang" ? 1_000 : 20_000 }));
  const text = "0123456789".repeat(100);
  const times = fault === "hang" ? 1 : 2;
  for (const method of ["PUT", "HEAD", "GET", "DELETE"])
    if (fault !== "cut" || method === "GET") store.fail(fault, method, /./, times);
  store.fail(fault === "cut" ? 503 : fault, "GET", /^$/, times);
  await put(bucket, "k", text);
  expect(await bucket.head("k")).toMatchObject({ bytes: text.length });
  expect(await readAll(bucket, "k", text.length)).toBe(text);
  expect(await bucket.list("k")).toHaveLength(1);
  await bucket.remove("k");
  expect(store.objects.size).toBe(0);
});

test("put() that was done and never answered is done once more", async () => {
  await using store = await S3Server.start();
  store.fail("lose", "PUT", /./);
  await put(bucketOf(store.settings()), "k", "text");
  expect(store.objects.get("k")?.toString()).toBe("text");
});

test.each([
  ["a few megabytes at a time", false, [4, 4, 1]],
  ["all at once from a store that knows no ranges", true, [9]],
])("read() takes a large object %s", async (_, rangeless, asked) => {
  await using store = await S3Server.start();
  store.rangeless = rangeless;
  const text = "0123456789abcdef".repeat(9 * 65_536);
  store.objects.set("k", Buffer.from(text));
  expect((await readAll(bucketOf(store.settings()), "k", text.length)) === text).toBe(true);
  expect(store.sent("GET", /k/)).toHaveLength(asked.length);
});

test("read() ends early with an object that is shorter than it should be, and late with one that is longer", async () => {
  await using store = await S3Server.start();
  store.objects.set("k", Buffer.alloc(5 * 1_024 ** 2, "x"));
  const bucket = bucketOf(store.settings());
  const lengths = [4, 9, 10].map(async (mib) => (await readAll(bucket, "k", mib * 1_024 ** 2)).length / 1_024 ** 2);
  expect(await Promise.all(lengths)).toEqual([5, 5, 5]);
});

test("read() goes on where it was cut off instead of beginning anew", async () => {
  await using store = await S3Server.start();
  const text = "abcdefghij".repeat(100_000);
  store.objects.set("k", Buffer.from(text));
  store.fail("cut", "GET", /k/, 2);
  expect(await readAll(bucketOf(store.settings()), "k", text.length)).toBe(text);
});

test("a store that is down is given up after six tries, and the reason is said", async () => {
  await using store = await S3Server.start();
  store.fail(503, "PUT", /./, 100);
  await expect(put(bucketOf(store.settings()), "k", "x")).rejects.toThrow(
    /cannot write k in the bucket vault at http.*503 SlowDown/,
  );
  expect(store.sent("PUT")).toHaveLength(6);
});

test.each([
  [{ secretAccessKey: "other" }, "the secret access key is not that of this access key id (SignatureDoesNotMatch)"],
  [{ accessKeyId: "AKOTHER" }, "the store does not know this access key id (InvalidAccessKeyId)"],
  [{ bucket: "nowhere" }, "there is no bucket nowhere; create it, or correct its name (NoSuchBucket)"],
  [{ region: "us-east-1" }, "the bucket is not in the region us-east-1 (AuthorizationHeaderMalformed)"],
])("%o is named, and asked once only", async (wrong, message) => {
  await using store = await S3Server.start();
  const bucket = bucketOf(store.settings(wrong));
  await expect(bucket.list("")).rejects.toThrow(message);
  await expect(put(bucket, "k", "x")).rejects.toThrow(message);
  expect(store.requests).toHaveLength(2);
});

test("a body that is not the one of its checksum is refused by the store", async () => {
  await using store = await S3Server.start();
  const md5 = createHash("md5").update("other").digest("base64");
  await expect(bucketOf(store.settings()).put("k", Buffer.from("x"), { bytes: 1, md5 })).rejects.toThrow(/BadDigest/);
  expect(store.objects.size).toBe(0);
});

test("no error says the secret", async () => {
  await using store = await S3Server.start();
  const settings = store.settings({ bucket: "nowhere" });
  const error = await bucketOf(settings)
    .list("")
    .catch((cause: unknown) => cause);
  expect(Bun.inspect(error)).not.toContain(settings.secretAccessKey);
});

test("Bucket trusts the authority of caFile alone: each kind of request goes through", async () => {
  const tls = makeCertificates();
  await using store = await S3Server.start(tls);
  const bucket = bucketOf(store.settings({ ca: tls.ca }));
  await put(bucket, "key", "hello");
  expect(await readAll(bucket, "key", 5)).toBe("hello");
  expect(await bucket.list("k")).toEqual([{ key: "key", bytes: 5 }]);
});

test.each([
  ["without one", () => undefined, "IP:127.0.0.1", /certificate of the store is not accepted: .*store's caFile$/],
  ["of another authority", () => makeCertificates().ca, "IP:127.0.0.1", /is not accepted: .*store's caFile$/],
  ["for another name", (own: string) => own, "DNS:elsewhere", /is not accepted: .*the endpoint must be a name/],
] as const)("Bucket asks once and says why when the certificate is %s", async (_, authority, name, words) => {
  const tls = makeCertificates(name);
  await using store = await S3Server.start(tls);
  const ca = authority(tls.ca);
  const bucket = bucketOf(store.settings(ca === undefined ? {} : { ca }));
  await expect(put(bucket, "key", "hello")).rejects.toThrow(words);
  await expect(bucket.list("k")).rejects.toThrow(words);
  expect(store.requests).toEqual([]);
});

test.each([
  ["a page of a proxy", "<html>hello</html>", /no listing/],
  ["a listing that is cut off", "<ListBucketResult><Contents><Key>a</Key>", /no listing/],
] as const)("readListing() refuses %s", (_, xml, words) => {
  expect(() => readListing(xml)).toThrow(words);
});

test("readListing() reads the names as they are", () => {
  const xml = `<?xml version="1.0"?><ListBucketResult xmlns="x"><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</NextContinuationToken><Contents><Key>a&lt;&#38;&#x41;&apos;&amp;lt;</Key><Size>7</Size></Contents></ListBucketResult>`;
  expect(readListing(xml)).toEqual({ contents: [{ key: "a<&A'&lt;", bytes: 7 }], next: "a&b=" });
});
