/**
 * Encrypted values of a state: AES-256-GCM, each with its own nonce, bound to its place so that rows cannot be swapped.
 * A value is `0x01 | key id (4) | nonce (12) | tag (16) | ciphertext`, in base64.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Where a value stands; part of what is authenticated. */
export interface Place {
  readonly uuid: string;
  readonly table: string;
  readonly column: string;
  readonly key: string;
}

/** The first encrypts, all decrypt. */
export type KeyRing = readonly SecretKey[];

interface SecretKey {
  readonly id: Buffer;
  readonly key: Buffer;
}

const FORMAT = 1;
const ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + ID_BYTES + NONCE_BYTES + TAG_BYTES;
/** Shortest line of a key file: 32 random bytes in base64 are 44, in hex 64. */
const MIN_KEY_CHARS = 32;
const MAX_KEYS = 16;
const MAX_FILE_BYTES = 65_536;
const CREDENTIAL = "state-key";

/**
 * The keys of a file: one a line, the current one first, older ones below it until everything is encrypted anew. Without a
 * path the credential `state-key` of systemd; `undefined` where there is none. Throws when the file cannot serve.
 */
export function loadKeys(
  path: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): KeyRing | undefined {
  const folder = env["CREDENTIALS_DIRECTORY"];
  const file = path ?? (folder === undefined ? undefined : join(folder, CREDENTIAL));
  if (file === undefined) return undefined;
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) {
    if (path === undefined) return undefined;
    throw new Error(`cannot use key file ${file}: it is not there`);
  }
  if ((stat.mode & 0o077) !== 0 && path !== undefined)
    throw new Error(`cannot use key file ${file}: others may read it; chmod 600 ${file}`);
  if (stat.size > MAX_FILE_BYTES)
    throw new Error(`cannot use key file ${file}: it is larger than ${MAX_FILE_BYTES} bytes`);
  return keysOf(readFileSync(file, "utf8"), file);
}

function keysOf(text: string, name: string): KeyRing {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length === 0 || lines.length > MAX_KEYS)
    throw new Error(`cannot use key file ${name}: it holds ${lines.length} keys, from 1 to ${MAX_KEYS} are possible`);
  if (lines.some((line) => line.length < MIN_KEY_CHARS))
    throw new Error(`cannot use key file ${name}: a key is shorter than ${MIN_KEY_CHARS} characters`);
  return lines.map((line) => {
    const key = Buffer.from(hkdfSync("sha256", line, "tradingbot-supervisor state", "values", 32));
    return { key, id: createHash("sha256").update("id").update(key).digest().subarray(0, ID_BYTES) };
  });
}

export function encrypt(keys: KeyRing, place: Place, value: string): string {
  const current = keys[0];
  if (current === undefined) throw new Error(`cannot encrypt ${place.key}: there is no key`);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", current.key, nonce);
  cipher.setAAD(bound(place));
  const text = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
  return Buffer.concat([Buffer.of(FORMAT), current.id, nonce, cipher.getAuthTag(), text]).toString("base64");
}

/** Throws when no key fits, or the value is damaged or from elsewhere. */
export function decrypt(keys: KeyRing, place: Place, value: string): string {
  const bytes = Buffer.from(value, "base64");
  if (bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) throw new Error(`cannot decrypt ${place.key}: it is damaged`);
  const fitting = keys.find(({ id }) => id.equals(bytes.subarray(1, 1 + ID_BYTES)));
  if (fitting === undefined)
    throw new Error(`cannot decrypt ${place.key}: the key that it was encrypted with is not there`);
  const nonceEnd = 1 + ID_BYTES + NONCE_BYTES;
  try {
    const decipher = createDecipheriv("aes-256-gcm", fitting.key, bytes.subarray(1 + ID_BYTES, nonceEnd));
    decipher.setAAD(bound(place));
    decipher.setAuthTag(bytes.subarray(nonceEnd, HEAD_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(HEAD_BYTES)), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new Error(`cannot decrypt ${place.key}: it is damaged, or was moved from another place`, { cause });
  }
}

/** Whether the value was encrypted with the current key. */
export function isCurrent(keys: KeyRing, value: string): boolean {
  return keys[0]?.id.equals(Buffer.from(value, "base64").subarray(1, 1 + ID_BYTES)) === true;
}

function bound({ uuid, table, column, key }: Place): Buffer {
  return Buffer.from([uuid, table, column, key].join("|"));
}
