/** `progress`: a value that the bot reports (`X_PROGRESS=`) has changed recently enough; catches a loop that turns and does nothing. */
import * as z from "zod";
import { later } from "../core/later.ts";
import { duration } from "../core/quantities.ts";
import { common, defineProbe } from "./contract.ts";
import { watchSilence } from "./silence.ts";

export const progress = defineProbe({
  kind: "progress",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("progress").describe("A value that the bot reports keeps changing."),
      timeout: duration().prefault("300s").describe("The longest time without a change of the value."),
      failureThreshold: common.failureThreshold.default(1),
    }),
  ),
  create: (config, context) =>
    watchSilence(
      {
        what: "progress",
        periodMs: config.period,
        timeoutMs: () => config.timeout,
        lastAtMs: context.progressAtMs,
        alarm: () => undefined,
      },
      context,
    ),
});
