/** An error as text for reports and journals: short, and without what a venue or a library may have put into it. */
import type { VenueAccess } from "../../core/close-job.ts";

const MAX_ERROR_CHARS = 200;

/** Some venues carry key or signature in the address, and some echo them: queries go, and the secrets themselves wherever they stand. */
export function describeError(error: unknown, access: VenueAccess): string {
  let text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  text = text.replace(/(https?:\/\/[^\s?]+)\?\S+/g, "$1");
  const secrets = [access.apiSecret, access.apiKey, access.passphrase ?? ""].filter((secret) => secret !== "");
  for (const secret of secrets) text = text.replaceAll(secret, "***");
  return text.slice(0, MAX_ERROR_CHARS);
}
