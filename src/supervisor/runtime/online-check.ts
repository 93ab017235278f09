/** What only the network can tell of a config: whether its buckets and its PostgreSQL servers can be used with the keys that it names. */
import type { Clock } from "../../platform/clock.ts";
import type { BackupsInput } from "./config/backup-schema.ts";
import { configError, type ConfigIssue } from "./config/issues.ts";
import type { LoadedConfig } from "./config/load.ts";
import { probeStore } from "./copies.ts";
import { postgresProblem, postgresTargets } from "./postgres-check.ts";

/** Throws `ConfigError` (exit code 2) with everything that cannot be used. Returns what can be, for people. */
export async function checkOnline(loaded: LoadedConfig, clock: Clock): Promise<readonly string[]> {
  const stores = bucketsOf(loaded.config.backups);
  const problems = await Promise.all(stores.map((name) => probeStore(loaded, name, clock)));
  const issues = stores.flatMap((name, index): readonly ConfigIssue[] => {
    const problem = problems[index];
    return problem === undefined ? [] : [loaded.issueAt(["backups", "stores", name], problem)];
  });
  const targets = postgresTargets(loaded);
  for (const [index, problem] of (await Promise.all(targets.map((each) => postgresProblem(loaded, each)))).entries())
    if (problem !== undefined) issues.push(loaded.issueAt(["backups", "targets", targets[index] ?? ""], problem));
  const [first] = issues;
  if (first !== undefined) throw configError(first.file, issues);
  return [
    ...stores.map((store) => `the bucket of the store ${store} can be read and written`),
    ...targets.map((target) => `the target ${target} can be backed up: its server answers, and the programs fit it`),
  ];
}

function bucketsOf(backups: BackupsInput | undefined): readonly string[] {
  return Object.entries(backups?.stores ?? {}).flatMap(([name, { kind }]) => (kind === "s3" ? [name] : []));
}
