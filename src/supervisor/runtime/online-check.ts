/** What only the network can tell of a config: whether its buckets can be read and written with the keys that it names. */
import type { Clock } from "../../platform/clock.ts";
import type { BackupsInput } from "./config/backup-schema.ts";
import { configError, type ConfigIssue } from "./config/issues.ts";
import type { LoadedConfig } from "./config/load.ts";
import { probeStore } from "./copies.ts";

/** Throws `ConfigError` (exit code 2) with everything that cannot be used. Returns the names of what can be. */
export async function checkOnline(loaded: LoadedConfig, clock: Clock): Promise<readonly string[]> {
  const stores = bucketsOf(loaded.config.backups);
  const problems = await Promise.all(stores.map((name) => probeStore(loaded, name, clock)));
  const issues = stores.flatMap((name, index): readonly ConfigIssue[] => {
    const problem = problems[index];
    return problem === undefined ? [] : [loaded.issueAt(["backups", "stores", name], problem)];
  });
  const [first] = issues;
  if (first !== undefined) throw configError(first.file, issues);
  return stores;
}

function bucketsOf(backups: BackupsInput | undefined): readonly string[] {
  return Object.entries(backups?.stores ?? {}).flatMap(([name, { kind }]) => (kind === "s3" ? [name] : []));
}
