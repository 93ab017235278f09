/** What a restore needs beside its plan, read before anything is changed: where the target is, and keys and passwords. */
import { statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { readManifest } from "../../actions/backup/repository.ts";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import type { Manifest } from "../../core/backup-manifest.ts";
import { EXIT } from "../../core/exit-code.ts";
import { formatOf, passwordlessText, type RestoreFrom } from "../../core/restore-job.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { commonJob, placesOf, withPassword, type Place } from "../runtime/backup-run.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { BackupRefusal } from "./backup-refusal.ts";
import type { CliIo } from "./verb.ts";

/** A password is one line. */
const MAX_PASSWORD_BYTES = 4_096;

/** What the worker is given beside the plan: where the target is, and keys and passwords. */
export interface Means {
  readonly common: Omit<ReturnType<typeof commonJob>, "store" | "folder">;
  readonly password: string | undefined;
  /** Of the target in its first store, which what is there now is backed up to. */
  readonly place: Place;
  readonly folder: string;
}

/** Read before anything is fetched, asked or backed up, and for `--dry-run` too: what is missing refuses the restore. */
export function meansOf(
  loaded: LoadedConfig,
  { target, from, options }: { target: string; from: RestoreFrom; options: { readonly passwordFile?: string } },
  io: CliIo,
): Means {
  const { backups } = loaded.config;
  const [place] = backups === undefined ? [] : placesOf(backups, target);
  if (place === undefined) throw new BackupRefusal(`cannot restore ${target}: it has no store`, EXIT.usage, "add one");
  const { store: _store, folder, ...common } = fromConfig(target, () => commonJob(loaded, place));
  const password = passwordOf(options, io);
  if (isSealed(from) && password === undefined)
    throw new BackupRefusal(
      `cannot restore ${target}: ${passwordlessText(from.path)}`,
      BACKUP_EXIT.source,
      "SUPERVISOR_BACKUP_PASSWORD may hold it, too",
    );
  const own = fromConfig(target, () => withPassword(common.target, backups?.targets[target], loaded.env));
  return { common: { ...common, target: own }, password, place, folder };
}

/** The worker refuses it, too; here before anything is asked or backed up. A manifest that cannot be read is for it to judge. */
export async function refuseForeignKey(target: string, from: RestoreFrom, { common }: Means): Promise<void> {
  const encryption = from.kind === "backup" ? encryptionOf(join(from.folder, target, from.id)) : undefined;
  if (encryption?.encrypt !== "age") return;
  const { identity } = common;
  if (identity === undefined)
    throw new BackupRefusal(
      `cannot restore ${target}: the backup is encrypted, and no identityFile is given`,
      BACKUP_EXIT.source,
      "name the file of its private key under backups.encryption",
    );
  // Loads the cryptography.
  const { recipientsOf } = await import("../../actions/backup/recipients.ts");
  const own = await recipientsOf(identity);
  if (own.some((each) => encryption.recipients.includes(each))) return;
  throw new BackupRefusal(
    `cannot restore ${target}: the key of the identityFile (${own.length === 0 ? "none of age" : own.join(", ")}) does not open the backup; it was encrypted for ${encryption.recipients.join(", ")}`,
    BACKUP_EXIT.source,
    "name the file of a key of theirs under backups.encryption.identityFile; a file may hold several, one a line",
  );
}

function encryptionOf(folder: string): Manifest["codec"] | undefined {
  try {
    return readManifest(folder).codec;
  } catch {
    return undefined;
  }
}

/** What the config names and is not there (a key, a password) is a mistake of the config. */
function fromConfig<Value>(target: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw new BackupRefusal(
      `cannot restore ${target}: ${error instanceof Error ? error.message : String(error)}`,
      EXIT.usage,
      "nothing was changed; supervisor config check shows what is missing",
    );
  }
}

function passwordOf({ passwordFile }: { readonly passwordFile?: string }, io: CliIo): string | undefined {
  if (passwordFile === undefined) return io.env["SUPERVISOR_BACKUP_PASSWORD"];
  const path = resolve(io.cwd, passwordFile);
  const text = readTextIfExists(path, MAX_PASSWORD_BYTES);
  if (text === undefined)
    throw new BackupRefusal(`cannot read ${path}: it does not exist`, EXIT.usage, "name a file with one line");
  return text.replace(/\r?\n$/, "");
}

/** A file that openssl encrypted; a folder is a backup of ours, whatever its name ends with. */
export function isSealed(from: RestoreFrom): from is Extract<RestoreFrom, { kind: "file" }> {
  if (from.kind !== "file" || formatOf(basename(from.path))?.openssl !== true) return false;
  return statSync(from.path, { throwIfNoEntry: false })?.isDirectory() !== true;
}
