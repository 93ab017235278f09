/** What asks for a close of positions, in words for people. */
import type { Trigger } from "./lifecycle-types.ts";

export const TRIGGER_TEXT: Readonly<Record<Trigger, string>> = {
  giveUp: "the restart budget was spent",
  closeAfter: "no healthy bot for too long",
  operator: "a person asked for it",
  probe: "a probe with onFailure emergency was unhealthy",
  file: "the emergency file appeared",
  signal: "SIGUSR2 to the daemon",
  environment: "BOT_EMERGENCY_SHUTDOWN=true at the start",
  exposure: "more was open than emergency.limits.maxExposure allows",
  dailyLoss: "the day lost more than emergency.limits.maxDailyLoss allows",
};

/** Why an account is closed: what opened the incident, and what else asked for it while it lasted. */
export function causeText({ reason, later = [] }: { reason: string; later?: readonly Trigger[] | undefined }): string {
  return [reason, ...later.map((trigger) => TRIGGER_TEXT[trigger])].join("; then ");
}
