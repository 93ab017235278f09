/** Sets the level that a bot begins its next start with: how a person ends a latched emergency. */
import type { SavedLevel } from "../../core/degradation.ts";
import type { Level } from "../../core/gate.ts";
import { changeStopped } from "./stopped.ts";

/** Throws while the bot runs. */
export function setSavedLevel(folder: string, level: Level, reason: string, now: number): Promise<void> {
  return changeStopped(folder, { what: "set the level" }, ({ ask }) => {
    const saved: SavedLevel = {
      level,
      reason,
      source: "set",
      since: now,
      latched: level === "emergency",
      holdUntil: 0,
    };
    ask({ kind: "put", table: "degradation", cells: ["bot", level, JSON.stringify(saved), now] });
  });
}
