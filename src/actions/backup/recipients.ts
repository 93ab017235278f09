/** Whose private keys a file of age holds: the recipients that what they open was encrypted for. */
import { identityToRecipient } from "age-encryption";

/** Of each line of the file that is a key. */
export async function recipientsOf(identity: string): Promise<readonly string[]> {
  const lines = identity.split("\n").filter((line) => line.startsWith("AGE-SECRET-KEY-"));
  const found = await Promise.allSettled(lines.map((line) => identityToRecipient(line.trim())));
  return found.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}
