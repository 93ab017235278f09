/** Encrypts what a stopped bot keeps under `secret:*` with the current key, so that older keys are needed no more. */
import { backUp } from "./backup.ts";
import { loadKeys } from "./secrets.ts";
import { changeStopped } from "./stopped.ts";

export interface Rekeyed {
  /** Values that an older key had encrypted. */
  readonly renewed: number;
  /** Keys in the file: all but the first may be removed from it. */
  readonly keys: number;
}

/**
 * One transaction: whoever dies in the middle leaves every value under its old key or every one under the new. Then a backup,
 * since the one before it would need the old key. Throws while the bot runs, and where a value's key is not in the file.
 */
export async function rekeyState(
  folder: string,
  { keyFile, credentials }: { readonly keyFile?: string | undefined; readonly credentials?: string | undefined },
): Promise<Rekeyed> {
  const keys = loadKeys(keyFile, { CREDENTIALS_DIRECTORY: credentials });
  if (keys === undefined)
    throw new Error("cannot encrypt anew: no key is given\nhint: --key-file FILE, the new key above the old one");
  return changeStopped(folder, { what: "encrypt anew", keys }, async ({ ask, database, files, second, uuid }) => {
    const renewed = Number(ask({ kind: "rekey" }));
    await backUp(database, files, uuid);
    second.covered();
    return { renewed, keys: keys.length };
  });
}
