/** HTTP basic authentication (RFC 7617) for one user. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readTextIfExists } from "../../../platform/files.ts";
import type { ListenerConfig } from "../config/load.ts";

/** Largest password file read, bytes; the config check has the same bound. */
const MAX_PASSWORD_FILE_BYTES = 65_536;

/** What a browser is told, so that it asks its user. */
export const CHALLENGE = 'Basic realm="supervisor", charset="UTF-8"';

/** Whether a request with this `Authorization` header may go on. */
export type Authorize = (header: string | null) => boolean;

/** Reads the password once; everybody may go on where `auth` is `undefined`. Throws when the file cannot be read or is empty. */
export function authorizer(auth: ListenerConfig["auth"]): Authorize {
  if (auth === undefined) return () => true;
  const password = readTextIfExists(auth.passwordFile, MAX_PASSWORD_FILE_BYTES)?.trim() ?? "";
  if (password === "") throw new Error(`cannot read a password from ${auth.passwordFile}: it is not there or empty`);
  const expected = digest(`${auth.username}:${password}`);
  // Digests have one length, so that the time of the comparison tells nothing, not even how long the password is.
  return (header) => timingSafeEqual(digest(credentialsOf(header)), expected);
}

/** `user:password` of the header; "" for a header of another scheme, which is no credential since the colon lacks. */
function credentialsOf(header: string | null): string {
  const encoded = /^basic +([A-Za-z0-9+/]+=*) *$/i.exec(header ?? "")?.[1] ?? "";
  return Buffer.from(encoded, "base64").toString("utf8");
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
