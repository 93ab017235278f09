/** `driver: exec`: the hook is a program of the user's, one process for each operation. */
import { HOOK_TIMEOUT_MS, MAX_HOOK_ANSWER_BYTES } from "../../core/close-hook.ts";
import type { ExecAccess } from "../../core/close-job.ts";
import { runCommand } from "../../platform/command.ts";
import type { VenueOptions } from "./contract.ts";
import type { HookPort, HookReply } from "./hook-venue.ts";

/** Runs the program in a session of its own, with nothing in its environment but what the config passes on; at the timeout its whole tree is killed. */
export function createExecPort({ command, cwd, env }: ExecAccess, options: VenueOptions): HookPort {
  const { clock, signal, onCall } = options;
  return async (request) => {
    const startMs = clock.monotonicMs();
    const end = await runCommand({
      command,
      cwd,
      env,
      stdin: `${JSON.stringify(request)}\n`,
      stdoutOnly: true,
      // One byte more shows that there was more.
      maxOutputBytes: MAX_HOOK_ANSWER_BYTES + 1,
      timeoutMs: HOOK_TIMEOUT_MS,
      signal,
      clock,
    });
    const outcome = end.kind === "exited" ? (end.code ?? end.signal ?? "ended") : end.kind;
    onCall?.({ method: "EXEC", path: request.op, outcome, ms: Math.round(clock.monotonicMs() - startMs) });
    return replyOf(end);
  };
}

function replyOf(end: Awaited<ReturnType<typeof runCommand>>): HookReply {
  switch (end.kind) {
    case "failed":
      return { kind: "none", why: end.reason };
    case "timeout":
      return { kind: "none", why: `the hook did not end within ${HOOK_TIMEOUT_MS} ms` };
    case "exited":
      // Whatever it wrote: a program that failed does not know what it did.
      if (end.code !== 0) return { kind: "none", why: `the hook ended with ${end.signal ?? `code ${end.code}`}` };
      if (end.output.length > MAX_HOOK_ANSWER_BYTES)
        return { kind: "none", why: `the hook's answer is larger than ${MAX_HOOK_ANSWER_BYTES} bytes` };
      return { kind: "text", text: end.output };
  }
}
