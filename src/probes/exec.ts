/** `exec`: a command of the user's ends with exit code 0; the kubelet's exec probe, with the command's whole group killed at the timeout. */
import * as z from "zod";
import { later } from "../core/later.ts";
import { formatDuration } from "../core/duration.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { runCommand } from "../platform/command.ts";
import { common, defineProbe } from "./contract.ts";
import { cancelled, OWN_STALL_MS, ownStall, wasGivenUp } from "./deadline.ts";
import { excerpt } from "./text.ts";
import { upstreamField } from "./upstream.ts";

/** How much output of a command is kept, bytes: its first lines go into the reason. */
const MAX_OUTPUT_BYTES = 4_096;
/** How long after the timeout `runCommand` may take to kill the command and to let go of its pipes, ms. */
const KILL_TIME_MS = 2_000;
/** How many lines of output stand in the reason; Pebble's number. */
const MAX_LINES = 5;

export const exec = defineProbe({
  kind: "exec",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("exec").describe("A command ends with exit code 0."),
      command: z
        .array(z.string().describe("Program or argument."))
        .min(1)
        .describe("Program and arguments; no shell. It runs as the bot's user in the bot's folder and environment."),
      upstream: upstreamField(),
    }),
  ),
  create: (config, context) => ({
    run: async (signal) => {
      const { clock, cwd, env, user } = context;
      const startedAtMs = clock.monotonicMs();
      const outcome = await runCommand({
        command: config.command,
        cwd,
        env,
        ...(user === undefined ? {} : { user }),
        timeoutMs: config.timeout,
        maxOutputBytes: MAX_OUTPUT_BYTES,
        signal,
        clock,
      });
      const elapsedMs = clock.monotonicMs() - startedAtMs;
      if (signal.aborted && wasGivenUp(elapsedMs, config.timeout)) return cancelled;
      const stalledMs = elapsedMs - config.timeout - KILL_TIME_MS;
      if (outcome.kind === "timeout" && stalledMs > OWN_STALL_MS) return ownStall(stalledMs);
      return judge(outcome, config);
    },
  }),
});

function judge(
  outcome: Awaited<ReturnType<typeof runCommand>>,
  config: { command: readonly string[]; timeout: number },
): ProbeResult {
  const name = excerpt(config.command[0] ?? "");
  switch (outcome.kind) {
    case "failed":
      return { kind: "unknown", reason: `cannot run ${name}: ${excerpt(outcome.reason)}` };
    case "timeout":
      return {
        kind: "failure",
        reason: `${name} did not end within ${formatDuration(config.timeout)}${said(outcome.output)}`,
      };
    case "exited": {
      if (outcome.code === 0) return { kind: "success" };
      const end = outcome.signal === null ? `exit code ${outcome.code}` : `killed by ${outcome.signal}`;
      return { kind: "failure", reason: `${name}: ${end}${said(outcome.output)}` };
    }
  }
}

function said(output: string): string {
  const lines = excerpt(output.trim().split("\n", MAX_LINES).join(" | "));
  return lines === "" ? "" : `: ${lines}`;
}
