/** How a close for a limit of the account begins: at the market, or with orders that wait for their price first. */
import * as z from "zod";
import type { CloseJob } from "./close-job.ts";
import { later } from "./later.ts";

export const CLOSE_STYLES = ["market", "limit-then-market"] as const;
export const closeStyleSchema = later(() => z.enum(CLOSE_STYLES));
export type CloseStyle = (typeof CLOSE_STYLES)[number];

/** What the job asks for, where its trigger is a limit and nothing was sent before: whoever closes for want of a bot, or again, has no time to wait. */
export function styleOf(
  { style = "market", trigger }: Pick<CloseJob, "style" | "trigger">,
  sentBefore: boolean,
): CloseStyle {
  return (trigger === "exposure" || trigger === "dailyLoss") && !sentBefore ? style : "market";
}
