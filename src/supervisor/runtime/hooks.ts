/** The commands that run around a stop: `preStop` before the signal, `postStop` when nothing of the bot is left. */
import { closeSync, constants, fstatSync, openSync, writeFileSync } from "node:fs";
import type { Hook } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import { runCommand, type CommandResult } from "../../platform/command.ts";
import type { User } from "../../platform/user.ts";
import { unmarked, type BotPlan } from "./bot-plan.ts";

export interface HookRequest {
  readonly plan: BotPlan;
  /** The environment of the bot's last start. */
  readonly env: Readonly<Record<string, string>>;
  readonly user: User | undefined;
  /** Why the bot is stopped: the cause of its exit record, given to the hook as SUPERVISOR_REASON. */
  readonly reason: string;
  /** Ends `preStop` when there is no time for it any more. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** Runs the hook of the config, at most for `stopTimeout`; what went wrong for people, or `undefined`. Never throws. */
export async function runHook(hook: Hook, request: HookRequest): Promise<string | undefined> {
  const { plan, env, user, reason, signal, clock } = request;
  const command = hook === "preStop" ? plan.config.preStop : plan.config.postStop;
  if (command === undefined) return undefined;
  const result = await runCommand({
    command,
    cwd: plan.config.cwd,
    env: { ...(hook === "postStop" ? unmarked(env) : env), SUPERVISOR_REASON: reason },
    ...(user === undefined ? {} : { user }),
    timeoutMs: plan.config.stopTimeout,
    // A postStop hook may outlast the sweep: nothing of the bot is left for the sweep to wait for.
    ...(hook === "preStop" ? { signal } : {}),
    clock,
  });
  const isCut = result.kind === "timeout" || (result.kind === "exited" && result.signal !== null);
  if (hook === "preStop" && signal.aborted && isCut)
    return `hook preStop was cut short, as the bot had ended or its emergency does not wait${keepOutput(hook, result.output, plan.files.log)}`;
  return describe(hook, result, plan.files.log);
}

/** What the hook printed may hold secrets, so it goes where the bot's own output goes, and never into the journal. */
function describe(hook: Hook, result: CommandResult, log: string): string | undefined {
  if (result.kind === "failed") return `hook ${hook} failed: ${result.reason}`;
  if (result.kind === "exited" && result.code === 0) return undefined;
  const how = result.kind === "timeout" ? "no end within stopTimeout" : (result.signal ?? `code ${result.code}`);
  return `hook ${hook} failed: ${how}${keepOutput(hook, result.output, log)}`;
}

/** Where the output is, for the message. */
function keepOutput(hook: Hook, output: string, log: string): string {
  if (output === "") return "";
  try {
    append(log, `${hook}: ${output}\n`);
    return "; its output is in the bot's log";
  } catch {
    return "; its output could not be kept";
  }
}

/** A FIFO in the file's place would block us in open(2), or once it is full, and with us the watch of all bots. */
function append(log: string, text: string): void {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  const fd = openSync(log, flags, 0o640);
  try {
    if (!fstatSync(fd).isFile()) throw new Error(`cannot append to ${log}: it is not a regular file`);
    writeFileSync(fd, text);
  } finally {
    closeSync(fd);
  }
}
