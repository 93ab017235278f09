/**
 * Reads what `openssl enc -aes-256-cbc -pbkdf2` wrote (salted, SHA-256, 10 000 iterations: the defaults of openssl-enc(1)).
 * Only to get at old backups: the format has no authentication, so a changed byte decrypts to other data without an error.
 */
import { createDecipheriv, pbkdf2Sync } from "node:crypto";

const MAGIC = "Salted__";
const SALT_BYTES = 8;
const HEAD_BYTES = MAGIC.length + SALT_BYTES;
const ITERATIONS = 10_000;
const KEY_BYTES = 32;
const IV_BYTES = 16;

/** Throws for what is no such file, and for most wrong passwords. */
export async function* opensslDecrypted(
  stored: AsyncIterable<Uint8Array>,
  password: string,
): AsyncGenerator<Uint8Array> {
  let head = Buffer.alloc(0);
  let decipher: ReturnType<typeof createDecipheriv> | undefined;
  for await (const chunk of stored) {
    if (decipher !== undefined) {
      yield decipher.update(chunk);
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < HEAD_BYTES) continue;
    decipher = decipherOf(head.subarray(0, HEAD_BYTES), password);
    yield decipher.update(head.subarray(HEAD_BYTES));
  }
  if (decipher === undefined) throw new Error("it is too short for a file of openssl enc");
  yield finalOf(decipher);
}

function decipherOf(head: Buffer, password: string): ReturnType<typeof createDecipheriv> {
  if (head.toString("latin1", 0, MAGIC.length) !== MAGIC)
    throw new Error("it does not begin as a file of openssl enc with a salt does");
  const made = pbkdf2Sync(password, head.subarray(MAGIC.length), ITERATIONS, KEY_BYTES + IV_BYTES, "sha256");
  return createDecipheriv("aes-256-cbc", made.subarray(0, KEY_BYTES), made.subarray(KEY_BYTES));
}

function finalOf(decipher: ReturnType<typeof createDecipheriv>): Buffer {
  try {
    return decipher.final();
  } catch (cause) {
    throw new Error("it does not decrypt: another password, or the file is cut off", { cause });
  }
}
