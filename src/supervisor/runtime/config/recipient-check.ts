/** Whether the private key that the config names opens what its backups are encrypted for. Loads the cryptography: for commands, not the daemon. */
import { readIdentity } from "../backup-run.ts";
import { formatWarning } from "./issues.ts";
import type { LoadedConfig } from "./load.ts";

/** The warnings, one line each. That the file is not there, or empty, others say. */
export async function recipientWarnings(loaded: LoadedConfig): Promise<readonly string[]> {
  const { identityFile, recipients = [] } = loaded.config.backups?.encryption ?? {};
  if (identityFile === undefined) return recipients.length === 0 ? [] : unprovable(loaded);
  const identity = textOf(loaded);
  if (identity.trim() === "") return [];
  const { recipientsOf } = await import("../../../actions/backup/recipients.ts");
  const own = await recipientsOf(identity);
  if (own.some((each) => recipients.includes(each))) return [];
  const text =
    own.length === 0
      ? `${identityFile} holds no key of age (AGE-SECRET-KEY-…): no backup can be proven or restored with it`
      : `its key is that of ${own.join(", ")}, and backups are encrypted for ${recipients.join(", ")}: they can neither be proven nor restored with it; name the file of a key of theirs, or add its recipient`;
  return [formatWarning(loaded.issueAt(["backups", "encryption", "identityFile"], text))];
}

/** Without a private key only the checksums of what is stored can be proven. */
function unprovable(loaded: LoadedConfig): readonly string[] {
  const { every = "L0", daily = "L0" } = loaded.config.backups?.verify ?? {};
  const wanted = Object.entries({ every, daily }).filter(([, level]) => level !== "L0");
  if (wanted.length === 0) return [];
  const levels = wanted.map(([key, level]) => `verify.${key} is ${level}`).join(" and ");
  const text = `without identityFile only L0 can be proven of what is encrypted, and ${levels}: each such proof fails${every === "L0" ? "" : ", and the backup with it"}; name the file of the private key, or set both to L0`;
  return [formatWarning(loaded.issueAt(["backups", "encryption"], text))];
}

function textOf(loaded: LoadedConfig): string {
  try {
    return readIdentity(loaded) ?? "";
  } catch {
    return "";
  }
}
