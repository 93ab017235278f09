/** What a bot needs on the machine before its first start: its user, its folders, its environment file. */
import { chownSync } from "node:fs";
import { ensureDir, readTextIfExists } from "../../platform/files.ts";
import { lookupUser, type User } from "../../platform/user.ts";
import { foldersOf, type BotFiles } from "./bot-plan.ts";
import { MAX_ENV_FILE_BYTES, parseEnvFile } from "./config/env-file.ts";

/** The user a bot runs as; `undefined` is the supervisor's own. Throws for a name that the machine does not know. */
export function resolveUser(name: string | undefined): User | undefined {
  if (name === undefined) return undefined;
  const user = lookupUser(name);
  if (user === undefined) throw new Error(`cannot run a bot as ${name}: this machine has no such user`);
  return user;
}

/** Makes the folders of a bot; those that the bot writes to belong to its user. Throws when one cannot be made. */
export function prepareFolders(files: BotFiles, user: User | undefined): void {
  for (const { path, mode, forBot } of foldersOf(files)) {
    ensureDir(path, mode);
    if (forBot && user !== undefined) chownSync(path, user.uid, user.gid);
  }
}

/** The variables of an environment file, read anew at each start. Throws when it cannot be read or understood. */
export function readEnvFile(path: string | undefined): Readonly<Record<string, string>> {
  if (path === undefined) return {};
  const text = readTextIfExists(path, MAX_ENV_FILE_BYTES);
  if (text === undefined) throw new Error(`cannot read envFile ${path}: no such file`);
  const { variables, errors } = parseEnvFile(text);
  const first = errors[0];
  if (first !== undefined) throw new Error(`cannot read envFile ${path}:${first.line}: ${first.message}`);
  return variables;
}
