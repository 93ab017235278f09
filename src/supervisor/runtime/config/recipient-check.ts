/** Whether the private key that the config names opens what its backups are encrypted for. Loads the cryptography: for commands, not the daemon. */
import { readIdentity } from "../backup-run.ts";
import { formatWarning } from "./issues.ts";
import type { LoadedConfig } from "./load.ts";

/** The warnings, one line each. That the file is not there, or empty, others say. */
export async function recipientWarnings(loaded: LoadedConfig): Promise<readonly string[]> {
  const { identityFile, recipients = [] } = loaded.config.backups?.encryption ?? {};
  const identity = textOf(loaded);
  if (identityFile === undefined || identity.trim() === "") return [];
  const { recipientsOf } = await import("../../../actions/backup/recipients.ts");
  const own = await recipientsOf(identity);
  if (own.some((each) => recipients.includes(each))) return [];
  const text =
    own.length === 0
      ? `${identityFile} holds no key of age (AGE-SECRET-KEY-…): no backup can be proven or restored with it`
      : `its key is that of ${own.join(", ")}, and backups are encrypted for ${recipients.join(", ")}: they can neither be proven nor restored with it; name the file of a key of theirs, or add its recipient`;
  return [formatWarning(loaded.issueAt(["backups", "encryption", "identityFile"], text))];
}

function textOf(loaded: LoadedConfig): string {
  try {
    return readIdentity(loaded) ?? "";
  } catch {
    return "";
  }
}
