/** The one default that stands in the way of a field beside it: 5 s for a run of a probe that runs each second. */
import { formatDuration, parseDuration } from "../../../core/duration.ts";
import { isMap, map } from "./outline.ts";
import { MIN_PROBE_PERIOD_MS, SILENCE_KINDS } from "./rules.ts";

/** The default of `timeout`, ms. */
const TIMEOUT_MS = 5_000;
/** Part of such a period that a run may take; the rest keeps it apart from the next. */
const SHARE = 0.8;

/** The config with the timeouts that nobody wrote, of probes whose period is no longer than the default. What is no config stays as it is. */
export function withShortTimeouts(root: unknown): unknown {
  const { bots } = map(root);
  if (!isMap(root) || !isMap(bots)) return root;
  const named = Object.entries(bots).map(([name, bot]): [string, unknown] => [name, withTimeouts(bot)]);
  return { ...root, bots: Object.fromEntries(named) };
}

function withTimeouts(bot: unknown): unknown {
  const { probes } = map(bot);
  if (!isMap(bot) || !Array.isArray(probes)) return bot;
  return { ...bot, probes: probes.map((probe: unknown) => withTimeout(probe)) };
}

function withTimeout(probe: unknown): unknown {
  const { kind, period, timeout } = map(probe);
  if (!isMap(probe) || timeout !== undefined || typeof period !== "string" || SILENCE_KINDS.has(String(kind)))
    return probe;
  const periodMs = parseDuration(period);
  if (periodMs === undefined || periodMs > TIMEOUT_MS || periodMs < MIN_PROBE_PERIOD_MS) return probe;
  return { ...probe, timeout: formatDuration(Math.floor(periodMs * SHARE)) };
}
