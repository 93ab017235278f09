/** `tcp`: a port accepts a connection; the connection is closed at once, nothing is sent. */
import * as z from "zod";
import { later } from "../core/later.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { common, defineProbe } from "./contract.ts";
import { withDeadline } from "./deadline.ts";
import { unreachable } from "./network.ts";
import { isUpstream, upstreamField } from "./upstream.ts";

export const tcp = defineProbe({
  kind: "tcp",
  schema: later(() =>
    z.strictObject({
      ...common,
      kind: z.literal("tcp").describe("A TCP port accepts a connection."),
      host: z.string().min(1).default("127.0.0.1").describe("Host to connect to."),
      port: z.int().min(1).max(65_535).describe("Port to connect to."),
      upstream: upstreamField(),
    }),
  ),
  create: (config, { clock }) => ({
    run: (signal) =>
      withDeadline({ clock, timeoutMs: config.timeout, signal, late: "failure" }, (runSignal) =>
        tryConnect(config, runSignal),
      ),
  }),
});

async function tryConnect(
  config: { kind: string; host: string; port: number; upstream?: boolean | undefined },
  signal: AbortSignal,
): Promise<ProbeResult> {
  const { host, port } = config;
  // Loaded on first use: it costs 5 MB, and most bots have no tcp probe. `Bun.connect` cannot be cancelled.
  const { connect } = await import("node:net");
  return new Promise((resolve) => {
    if (signal.aborted) return resolve({ kind: "unknown", reason: "cancelled before it started" });
    const socket = connect({ host, port });
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    socket.once("connect", () => {
      socket.destroy();
      resolve({ kind: "success" });
    });
    // `on`, not `once`: an error after the answer must not become an uncaught exception.
    socket.on("error", (error) => resolve(unreachable(`${host}:${port}`, error, isUpstream(config))));
  });
}
