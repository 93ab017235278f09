/** Who ended the slow rounds of a close, and why, `<stateDir>/bots/NAME/ack.json`: told to people; that it was done stands in the lockout. */
import * as z from "zod";
import { later } from "./later.ts";

export const acknowledgementSchema = later(() =>
  z.object({
    version: z.literal(1),
    /** The lockout that held then. */
    incident: z.string(),
    /** As the person's own command says; null: it does not. */
    by: z.string().nullable(),
    reason: z.string(),
  }),
);
export type Acknowledgement = z.output<typeof acknowledgementSchema>;
