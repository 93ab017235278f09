/**
 * The paper exchange: a loopback HTTP server that speaks the REST of a real venue well enough for unmodified ccxt, keeps
 * its books in memory, and can be made to misbehave over `/__paper/…` (see control.ts).
 */
import type { PaperState } from "./control.ts";
import { MAX_SYNTHETIC_SYMBOLS } from "./market.ts";
import { Venue, type VenueOptions } from "./venue.ts";

export interface PaperOptions extends VenueOptions {
  /** 0 or left out: the kernel picks. */
  port?: number;
  /** Default 127.0.0.1. */
  hostname?: string;
}

export interface PaperExchange {
  /** Base address without a trailing slash. */
  url: string;
  port: number;
  state(): PaperState;
  /** Closes every connection; resolves when the port is free. */
  stop(): Promise<void>;
}

/** Order requests are a few hundred bytes. */
const MAX_BODY_BYTES = 64 * 1_024;
/** Seconds that a connection may be silent; longer than any latency that can be set. */
const IDLE_TIMEOUT_SECONDS = 120;

/** Starts the exchange; throws `cannot start the paper exchange …` when the port is taken. */
export function startPaperExchange(options: PaperOptions): PaperExchange {
  const count = options.symbols ?? 0;
  if (!(Number.isInteger(count) && count >= 0 && count <= MAX_SYNTHETIC_SYMBOLS)) {
    throw new Error(`cannot start the paper exchange: symbols is ${count}, must be 0 to ${MAX_SYNTHETIC_SYMBOLS}`);
  }
  const venue = new Venue(options);
  const hostname = options.hostname ?? "127.0.0.1";
  const port = options.port ?? 0;
  let server: ReturnType<typeof Bun.serve>;
  try {
    server = Bun.serve({
      hostname,
      port,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxRequestBodySize: MAX_BODY_BYTES,
      fetch: (request) => venue.answer(request),
      error: (error) => new Response(`internal error: ${error.message}`, { status: 500 }),
    });
  } catch (error) {
    throw new Error(`cannot start the paper exchange on ${hostname}:${port}: ${String(error)}`, { cause: error });
  }
  venue.startTicking();
  return {
    url: `http://${hostname}:${server.port}`,
    port: server.port ?? port,
    state: () => venue.state(),
    async stop() {
      venue.stopTimers();
      await server.stop(true);
    },
  };
}
