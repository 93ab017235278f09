/** An error as text for reports and journals: short, and without what a venue or a library may have put into it. */
import type { VenueAccess } from "../../core/close-job.ts";

const MAX_ERROR_CHARS = 200;
/** A variable of an exec hook may be a flag or a number; what is shorter than this is no secret. */
const MIN_SECRET_CHARS = 8;

/** Some venues carry key or signature in the address, and some echo them: queries go, and the secrets themselves wherever they stand. */
export function describeError(error: unknown, access: VenueAccess): string {
  let text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  text = text.replace(/(https?:\/\/[^\s?]+)\?\S+/g, "$1");
  for (const secret of secretsOf(access)) text = text.replaceAll(secret, "***");
  return text.slice(0, MAX_ERROR_CHARS);
}

/** In which no other secret hides: the longest first. */
function secretsOf(access: VenueAccess): string[] {
  const secrets =
    access.driver === undefined
      ? [access.apiSecret, access.apiKey, access.passphrase ?? ""]
      : access.driver === "exec"
        ? Object.values(access.env).filter((value) => value.length >= MIN_SECRET_CHARS)
        : [access.secret];
  return secrets.filter((secret) => secret !== "").toSorted((a, b) => b.length - a.length);
}
