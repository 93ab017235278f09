/**
 * Whether a probe asks the bot or an upstream: something that the bot needs and that runs elsewhere, as the exchange. What
 * fails there is no fault of the bot, and a restart repairs nothing.
 */
import { hostname, networkInterfaces } from "node:os";
import * as z from "zod";

/** The field of kinds that may ask somebody else than the bot. */
export const upstreamField = () =>
  z
    .boolean()
    .optional()
    .describe(
      "What is asked is not the bot but something that it needs, as the exchange: its failure never restarts the bot nor closes positions. Default: whether the target is another machine; exec: false.",
    );

/** The fields of a probe's config that tell. */
export interface Asking {
  readonly kind: string;
  readonly upstream?: boolean | undefined;
  readonly url?: string;
  readonly unixSocket?: string | undefined;
  readonly host?: string;
}

/** As the config says, else whether the target is neither loopback nor an address or the name of this machine. No name is resolved. */
export function isUpstream(config: Asking): boolean {
  if (config.upstream !== undefined) return config.upstream;
  if (config.kind === "http" && config.unixSocket === undefined && config.url !== undefined)
    return !isLocal(new URL(config.url).hostname);
  return config.kind === "tcp" && config.host !== undefined && !isLocal(config.host);
}

function isLocal(host: string): boolean {
  const name = host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/^::ffff:/, "")
    .replace(/\.$/, "");
  if (name === "localhost" || name.endsWith(".localhost") || name === hostname().toLowerCase()) return true;
  if (/^127\.\d+\.\d+\.\d+$/.test(name) || ["::1", "0.0.0.0", "::"].includes(name)) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === name));
}
