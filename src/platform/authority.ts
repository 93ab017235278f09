/** Certificates of an authority in a file, as operators of private services have them. */
import { readTextIfExists } from "./files.ts";

/** The bundle of all public authorities has some 220 kB. */
const MAX_AUTHORITY_BYTES = 1_024 ** 2;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export type Authority =
  | { readonly kind: "read"; readonly pem: string }
  /** As it follows the file's name: "holds no certificate". */
  | { readonly kind: "failed"; readonly reason: string };

/** Reads certificates in PEM. A file with one that cannot be read counts as none: TLS would say nothing of it. Never throws. */
export function readAuthority(file: string): Authority {
  try {
    const text = readTextIfExists(file, MAX_AUTHORITY_BYTES);
    if (text === undefined) return { kind: "failed", reason: "is not there" };
    const found = text.match(CERTIFICATE) ?? [];
    if (found.length === 0) return { kind: "failed", reason: "holds no certificate in PEM" };
    // Only here: the module costs each start of the daemon milliseconds.
    const { X509Certificate } = process.getBuiltinModule("node:crypto");
    for (const pem of found) void new X509Certificate(pem);
    return { kind: "read", pem: found.join("\n") };
  } catch (cause) {
    return { kind: "failed", reason: `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
}
