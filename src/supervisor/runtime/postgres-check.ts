/** What only its server can tell of a target of kind postgres: whether it can be read, dumped by a program that is installed, and followed. */
import { pgObstacle } from "../../actions/backup/pg-check.ts";
import { backRestOf, targetWithPassword } from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";

/** Names of the targets of kind postgres. */
export function postgresTargets({ config }: LoadedConfig): readonly string[] {
  return Object.entries(config.backups?.targets ?? {}).flatMap(([name, { kind }]) =>
    kind === "postgres" ? [name] : [],
  );
}

/** Why the target cannot be backed up; `undefined` when it can. Never throws. */
export async function postgresProblem(loaded: LoadedConfig, name: string): Promise<string | undefined> {
  try {
    const config = loaded.config.backups?.targets[name];
    const target = targetWithPassword(loaded, name);
    if (target?.kind !== "postgres" || config?.kind !== "postgres") return undefined;
    return await pgObstacle(target, { pitr: config.pitr, pgbackrest: backRestOf(config) });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
