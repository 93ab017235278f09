/** Tells a mistyped bot name from a bot of which there is nothing to show; for commands that read files. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import { guessText } from "../../core/nearest.ts";
import { plainText } from "../../core/plain-text.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import { lastKnownStatus } from "./last-known.ts";
import type { Place, PlaceOptions } from "./place.ts";
import type { CliIo } from "./verb.ts";

class NoSuchBotError extends Error {
  readonly exitCode = EXIT.usage;
}

/**
 * Throws, with exit code 2 and the names that there are, when neither the state folder nor the config knows the bot. One
 * that has ever run costs one look at its folder; where nothing can be read, nothing is refused.
 */
export async function refuseUnknownBot(bot: string, place: Place, options: PlaceOptions, io: CliIo): Promise<void> {
  const folder = join(place.dirs.stateDir, "bots");
  if (!bot.includes("/") && existsSync(join(folder, bot))) return;
  const names = (await namesInConfig(options, io)) ?? (await namesInStatus(place)) ?? namesIn(folder);
  if (names === undefined || names.includes(bot)) return;
  throw noSuchBot(bot, names);
}

/** For a command that has read the config; exit code 2. */
export function noSuchBot(bot: string, names: readonly string[]): Error {
  const known = names.length === 0 ? "there is none" : `the bots are ${names.join(", ")}`;
  return new NoSuchBotError(plainText(`cannot find bot ${bot}: ${known}${guessText(bot, names)}`));
}

/** Also of a config with mistakes elsewhere; `undefined` when it cannot be read or is no YAML. */
async function namesInConfig(options: PlaceOptions, io: CliIo): Promise<readonly string[] | undefined> {
  const { readSource } = await import("../runtime/config/read.ts");
  try {
    const { root } = readSource({ file: options.config, env: io.env, cwd: io.cwd }).source;
    const bots: unknown = typeof root === "object" && root !== null ? Reflect.get(root, "bots") : undefined;
    return typeof bots === "object" && bots !== null ? Object.keys(bots) : undefined;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

async function namesInStatus(place: Place): Promise<readonly string[] | undefined> {
  return (await lastKnownStatus(place))?.bots.map(({ name }) => name);
}

function namesIn(folder: string): readonly string[] | undefined {
  try {
    return readdirSync(folder);
  } catch {
    // Absent, or not ours to read: then nothing is known of the names.
    return undefined;
  }
}
