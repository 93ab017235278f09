/** The descriptors that a bot gets as its output where that is not its log file; they are the bot's own, so it keeps them when we die. */
import { closeSync } from "node:fs";
import { journalIdentifier } from "../../core/output-log.ts";
import { openJournalStream } from "../../platform/journal-stream.ts";
import type { OutputDescriptors } from "../../platform/spawn.ts";
import type { BotPlan } from "./bot-plan.ts";

const INHERITED: OutputDescriptors = { stdout: 1, stderr: 2 };

/**
 * Runs `start` with the output that the config names, `undefined` being the log file. A journal that cannot be had is an
 * alert and the file takes its place: a bot must not stay down for want of a log.
 */
export function withOutput<T>(
  plan: Pick<BotPlan, "name" | "files"> & { readonly config: Pick<BotPlan["config"], "output"> },
  fact: (level: "alert", text: string) => void,
  start: (output: OutputDescriptors | undefined) => T,
  journalSocket?: string,
): T {
  const { to } = plan.config.output;
  if (to === "file") return start(undefined);
  if (to === "inherit") return start(INHERITED);
  const stream = openJournalStream(journalIdentifier(plan.name), journalSocket);
  if ("error" in stream) {
    fact("alert", `${stream.error}; the output of this start goes to ${plan.files.log}`);
    return start(undefined);
  }
  try {
    return start({ stdout: stream.fd, stderr: stream.fd });
  } finally {
    closeSync(stream.fd);
  }
}
