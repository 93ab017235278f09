/** A bot's config for tests: what the real schema makes of a few fields. */
import { onFailureOf, probeName } from "../../src/probes/index.ts";
import type { BotConfig } from "../../src/supervisor/runtime/config/load.ts";
import { configSchema } from "../../src/supervisor/runtime/config/schema.ts";

/** Every default filled in; durations as the config writes them. Throws for what the config would refuse. */
export function botConfig(name: string, fields: Readonly<Record<string, unknown>> = {}): BotConfig {
  const { bots } = configSchema.parse({ version: 1, bots: { [name]: { command: ["bot"], ...fields } } });
  const input = bots[name];
  if (input === undefined) throw new Error(`the config has no bot ${name}`);
  const probes = input.probes.map((probe) => ({ ...probe, name: probeName(probe), onFailure: onFailureOf(probe) }));
  return { ...input, name, account: input.account ?? name, cwd: "/tmp", probes };
}
