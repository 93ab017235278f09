/** Starts the server that a restore had stopped, for who ends a restore that was broken off. */
import type { Clock } from "../../platform/clock.ts";
import { runCommand } from "../../platform/command.ts";
import type { Settled } from "./restore-journal.ts";

/** A start of a service takes at most some ten seconds. */
const COMMAND_MS = 120_000;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Runs a command of the config that stops or starts a server; says why it failed. */
export async function runServerCommand(command: readonly string[], clock: Clock): Promise<string | undefined> {
  const end = await runCommand({ command, cwd: "/", env: { PATH }, timeoutMs: COMMAND_MS, clock });
  if (end.kind === "exited" && end.code === 0) return undefined;
  const why = end.kind === "failed" ? end.reason : end.kind === "timeout" ? "it took too long" : end.output.trim();
  return `${command.join(" ")} failed: ${why}`;
}

/** Says what failed; `undefined` also when there was none to start. Never throws. */
export async function startServerOf({ target, start }: Settled, clock: Clock): Promise<string | undefined> {
  if (start === undefined) return undefined;
  const fault = await runServerCommand(start, clock);
  return fault === undefined ? undefined : `cannot start the server of ${target} again: ${fault}`;
}
