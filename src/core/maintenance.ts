/**
 * Maintenance: a time, announced by a person, in which no trigger closes positions; only an explicit close does.
 *
 * The file `<stateDir>/maintenance.json` outlives daemon and machine, and its time ends by itself.
 */
import * as z from "zod";
import { later } from "./later.ts";

/** Longest maintenance, ms: nobody who forgets it leaves an account unprotected for longer than a day. */
export const MAX_MAINTENANCE_MS = 24 * 3_600_000;

const maintenanceSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    /** Wall-clock times, ms since 1970: they must mean the same after a reboot. */
    sinceMs: z.number(),
    untilMs: z.number(),
    reason: z.string().nullable(),
  }),
);
export type Maintenance = z.output<typeof maintenanceSchema>;

/** Reads the file's text; `undefined` for what cannot be read, and then nothing is suspended. */
export function parseMaintenance(text: string): Maintenance | undefined {
  try {
    const parsed = maintenanceSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** What is left of it at a wall-clock time, ms; 0 when it is over. A clock that was set back does not make it longer than it was asked for. */
export function maintenanceLeftMs({ sinceMs, untilMs }: Maintenance, nowMs: number): number {
  return Math.max(0, Math.min(untilMs - nowMs, untilMs - sinceMs, MAX_MAINTENANCE_MS));
}
