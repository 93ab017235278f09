/** The identity file `<stateDir>/bots/NAME/identity.json`: which process is, or last was, the bot. */
import * as z from "zod";

const identitySchema = z.strictObject({
  version: z.literal(1),
  account: z.string(),
  /** Kernel boot id: after a reboot no process of the file can be alive. */
  bootId: z.string(),
  pid: z.int(),
  startTimeTicks: z.number(),
  invocationId: z.string(),
  generation: z.int().min(0),
  /** The bot has been ready since this start; one that had not been goes on starting when it is adopted. */
  ready: z.boolean(),
  /** Fingerprint of the command, folder, user and environment that it was started with. */
  definition: z.string(),
  cgroup: z.string().nullable(),
  /** Automatic restarts so far, so that the count survives the daemon. */
  restarts: z.int().min(0),
});
export type Identity = z.output<typeof identitySchema>;

/** Reads an identity file's text; `undefined` for no file, a damaged one, or another version. */
export function readIdentity(text: string | undefined): Identity | undefined {
  if (text === undefined) return undefined;
  try {
    const result = identitySchema.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}
