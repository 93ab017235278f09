/** Which cgroups a judgement of limits goes by: the daemon's own where one answers, for a unit is given others than a shell. */
import { join } from "node:path";
import { viewCgroups, type CgroupView } from "../../platform/controllers.ts";
import { lockHolder } from "../../platform/lock.ts";
import { isForeignNamespace } from "../../platform/pid-namespace.ts";
import { readProc } from "../../platform/proc.ts";
import { cgroupsAnswerSchema } from "../runtime/api.ts";
import { callDaemon, DaemonDownError } from "./client.ts";
import type { Place } from "./place.ts";

export interface SeenCgroups extends CgroupView {
  /** The daemon that was asked, as it is called here; `undefined`: what is seen is what this process has. */
  readonly pid: number | undefined;
  /** Why no daemon was asked. */
  readonly why: string;
}

/** Never throws: what no daemon tells is looked up here. `undefined` stands for an installation that nobody could name. */
export async function seeCgroups(place: Place | undefined): Promise<SeenCgroups> {
  const asked = place === undefined ? { why: "no config names one" } : await ask(place);
  return "pid" in asked ? { ...asked, why: "" } : { ...viewCgroups(), pid: undefined, ...asked };
}

async function ask(place: Place): Promise<(CgroupView & { readonly pid: number }) | { readonly why: string }> {
  try {
    const answer = cgroupsAnswerSchema.safeParse(await callDaemon(place, "GET", "/v1/cgroups"));
    if (!answer.success) return { why: "the daemon gave an answer that is not understood" };
    const { pid: told, pidNamespace, support, controllers } = answer.data;
    const foreign = isForeignNamespace(pidNamespace);
    const pid = foreign ? lockHolder(join(place.dirs.stateDir, "supervisor.lock")) : told;
    if (pid === undefined || readProc(`/proc/${pid}/limits`) === undefined)
      return { why: `pid ${told}${foreign ? " of another PID namespace" : ""} cannot be seen from here` };
    return { pid, support: { ...support, base: support.base }, controllers };
  } catch (error) {
    if (error instanceof DaemonDownError) return { why: "none runs" };
    return { why: error instanceof Error ? error.message : String(error) };
  }
}
