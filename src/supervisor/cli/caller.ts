/** Who runs a command, as far as the machine tells: for the journal and the status, and for nothing that is decided. */
import { lookupUser } from "../../platform/user.ts";

/** Longest name, characters: what is longer is cut. */
const MAX_CHARS = 100;

/** The user's name, with sudo also that of who has called it; the user's id where it has no name. */
export function callerName(
  env: Readonly<Record<string, string | undefined>>,
  uid = String(process.getuid?.() ?? "?"),
): string {
  const name = lookupUser(uid)?.name ?? `uid ${uid}`;
  const caller = env["SUDO_USER"] ?? "";
  const text = caller === "" || caller === name ? name : `${caller} as ${name}`;
  return text.slice(0, MAX_CHARS);
}
