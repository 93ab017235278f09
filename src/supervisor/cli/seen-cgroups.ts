/** Which cgroups a judgement of limits goes by: the daemon's own where one answers, for a unit is given others than a shell. */
import { viewCgroups, type CgroupView } from "../../platform/controllers.ts";
import { readProc } from "../../platform/proc.ts";
import { cgroupsAnswerSchema } from "../runtime/api.ts";
import { callDaemon, DaemonDownError } from "./client.ts";
import type { Place } from "./place.ts";

export interface SeenCgroups extends CgroupView {
  /** The daemon that was asked; `undefined`: what is seen is what this process has. */
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
    const { pid, support, controllers } = answer.data;
    if (readProc(`/proc/${pid}/limits`) === undefined) return { why: `pid ${pid} cannot be seen from here` };
    return { pid, support: { ...support, base: support.base }, controllers };
  } catch (error) {
    if (error instanceof DaemonDownError) return { why: "none runs" };
    return { why: error instanceof Error ? error.message : String(error) };
  }
}
