/**
 * The action `capture-dump`: reads a living bot that is about to be ended. It says when everything that cannot hang is
 * read, so that the daemon need not wait for the rest, and may be killed at any line: what it has is in the folder.
 */
import { captureJobSchema, type CaptureJob, type CaptureLine } from "../../core/dump-job.ts";
import { secretValues } from "../../core/redact.ts";
import { chooseStack } from "../../core/stack-choice.ts";
import { isLive, readEnviron } from "../../platform/proc.ts";
import { defineAction } from "../contract.ts";
import { readTagKey, shownEnvironment, variablesOf } from "./environment.ts";
import { DumpFolder } from "./folder.ts";
import { nodeStack } from "./node-stack.ts";
import { addCgroup, addHost, addMaps, addProcess } from "./proc-set.ts";
import { programFacts, stackBySignal } from "./signal-stack.ts";

export const captureAction = defineAction({
  jobSchema: captureJobSchema,
  run: async (job, { write }) => {
    await capture(job, write);
    return 0;
  },
});

async function capture(job: CaptureJob, write: (line: CaptureLine) => void): Promise<void> {
  const { pid, startTicks, cgroup } = job;
  // A pid that was given to another process since is none of ours.
  if (!isLive(pid, startTicks)) return;
  const variables = variablesOf(readEnviron(pid) ?? []);
  const folder = new DumpFolder(job.folder, job.secrets, secretValues(variables));
  addProcess(folder, pid);
  folder.add("proc/environ", () => shownEnvironment(variables, readTagKey(job.tagKey)));
  if (cgroup !== undefined) addCgroup(folder, cgroup);
  addHost(folder);
  await addStack(folder, job);
  write({ kind: "read" });
  addMaps(folder, pid);
}

/** The bounds of both ways are shorter than the daemon's patience. */
async function addStack(folder: DumpFolder, { pid, startTicks, stack, hung, output }: CaptureJob): Promise<void> {
  const choice = chooseStack(stack, programFacts(pid, { hung, heard: output !== undefined }));
  switch (choice.kind) {
    case "node":
      return folder.addLater("stacks/node.txt", () => nodeStack(pid));
    case "signal":
      if (output === undefined) return undefined;
      return folder.addLater(choice.entry, () => stackBySignal(pid, startTicks, choice.signal, output));
    case "none":
      if (choice.why !== undefined) folder.note("stacks", new Error(choice.why));
      return undefined;
  }
}
