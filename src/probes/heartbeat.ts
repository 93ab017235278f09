/** `heartbeat`: the bot said `WATCHDOG=1` or posted a heartbeat recently enough; systemd's watchdog, sd_notify(3). */
import * as z from "zod";
import { later } from "../core/later.ts";
import { duration } from "../core/quantities.ts";
import { common, defineProbe } from "./contract.ts";
import { watchSilence } from "./silence.ts";

export const heartbeat = defineProbe({
  kind: "heartbeat",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("heartbeat").describe("The bot says regularly that its loop turns."),
      timeout: duration().prefault("60s").describe("The longest silence; a bot may replace it by WATCHDOG_USEC."),
      failureThreshold: common.failureThreshold.default(1),
    }),
  ),
  create: (config, context) =>
    watchSilence(
      {
        what: "heartbeat",
        periodMs: config.period,
        timeoutMs: () => {
          const askedMs = context.watchdogMs();
          return askedMs === 0 ? undefined : (askedMs ?? config.timeout);
        },
        lastAtMs: context.heartbeatAtMs,
        alarm: () => (context.watchdogTriggered() ? "the bot asked for its replacement (WATCHDOG=trigger)" : undefined),
      },
      context,
    ),
});
