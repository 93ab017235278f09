/** `process`: the bot's main process is there; every bot has this probe, named or not. */
import * as z from "zod";
import { later } from "../core/later.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { isAlive, readStat } from "../platform/proc.ts";
import { common, defineProbe, type ProbeContext } from "./contract.ts";

export const process = defineProbe({
  kind: "process",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("process").describe("The bot's main process exists; every bot has this probe."),
      failureThreshold: common.failureThreshold.default(1),
    }),
  ),
  create: (_config, context) => ({ run: () => Promise.resolve(look(context)) }),
});

/** A process that is stopped (T) or waits for a disk (D) still exists: its silence is the heartbeat's business. */
function look({ pid, startTicks }: ProbeContext): ProbeResult {
  try {
    const stat = readStat(pid);
    if (stat === undefined) return { kind: "failure", reason: `main process ${pid} is gone` };
    if (stat.startTicks !== startTicks)
      return { kind: "failure", reason: `main process ${pid} is gone, its pid belongs to another process` };
    if (!isAlive(stat)) return { kind: "failure", reason: `main process ${pid} is dead (state ${stat.state})` };
    return { kind: "success" };
  } catch (error) {
    // "Cannot tell" (no descriptor left, no memory) must never read as "dead".
    return { kind: "unknown", reason: error instanceof Error ? error.message : String(error) };
  }
}
