/** The last known state, which the daemon leaves on disk for when it does not answer. */
import type { Status } from "../../core/status.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { statusFile } from "../runtime/installation.ts";
import type { Place } from "./place.ts";

/** Largest snapshot read from disk, bytes. */
const MAX_SNAPSHOT_BYTES = 4 * 1024 ** 2;

/** Marked as of a daemon that is down; `undefined` when there is none that can be read and understood. */
export async function lastKnownStatus({ dirs }: Pick<Place, "dirs">): Promise<Status | undefined> {
  try {
    const text = readTextIfExists(statusFile(dirs.stateDir), MAX_SNAPSHOT_BYTES);
    if (text === undefined) return undefined;
    // Only here, where no daemon answers: the schema costs each command of a running one its start.
    const { statusSchema } = await import("../../core/status.ts");
    const status = statusSchema.parse(JSON.parse(text));
    return { ...status, supervisor: { ...status.supervisor, pid: null, health: "down" } };
  } catch {
    return undefined;
  }
}
