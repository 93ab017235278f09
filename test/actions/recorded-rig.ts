/** A server that answers as a venue was recorded, and the client of the close in front of it. */
import { expect } from "vitest";
import { CcxtVenue } from "../../src/actions/venue/ccxt-venue.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { VENUE_REPLIES } from "../fixtures/venue-replies.ts";

export type RecordedVenue = keyof typeof VENUE_REPLIES;

interface Replay extends AsyncDisposable {
  readonly venue: CcxtVenue;
  /** Requests that change something. */
  readonly sent: string[];
  /** Requests without a recorded reply. */
  readonly unknown: string[];
  refuseOrders: boolean;
}

/** Bodies with status 400, by the beginning of METHOD and path. */
export type Overrides = Readonly<Record<string, unknown>>;

/** Answers with the replies of a venue, each as `told` has it. */
export async function replay(
  name: RecordedVenue,
  overrides: Overrides = {},
  told: (reply: unknown, key: string) => unknown = (reply) => reply,
): Promise<Replay> {
  const { replies, refusal } = VENUE_REPLIES[name];
  const sent: string[] = [];
  const unknown: string[] = [];
  const state = { refuseOrders: false };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const label = `${request.method} ${pathname}${search} ${decodeURIComponent(await request.text())}`;
      const override = Object.keys(overrides).find((start) => label.startsWith(start));
      if (override !== undefined && !label.includes("/contracts"))
        return Response.json(overrides[override], { status: 400 });
      const key = Object.keys(replies).find((pattern) => {
        const [start = "", ...parts] = pattern.split("|");
        return label.startsWith(start) && parts.every((part) => label.includes(part));
      });
      if (request.method !== "GET" && !label.startsWith("POST /info")) sent.push(label);
      if (key === undefined) unknown.push(label);
      if (state.refuseOrders && request.method === "POST" && !label.startsWith("POST /info"))
        return Response.json(refusal.body, { status: refusal.status });
      return key === undefined
        ? Response.json({}, { status: 404 })
        : Response.json(told(Reflect.get(replies, key), key));
    },
  });
  const wallet = name === "hyperliquid";
  const access = {
    exchange: name === "bitgetUnified" ? "bitget" : name,
    endpoint: server.url.href,
    sandbox: false,
    symbols: [],
    timeoutMs: 20_000,
    apiKey: wallet ? `0x${"a".repeat(40)}` : "key",
    apiSecret: wallet ? `0x${"1".repeat(64)}` : btoa("s".repeat(48)),
    passphrase: "phrase",
  };
  const options = { clock: systemClock, signal: new AbortController().signal, onFailure: () => undefined };
  const venue = await CcxtVenue.open(access, options);
  expect(await venue.prepare()).toBeUndefined();
  return Object.assign(state, { venue, sent, unknown, [Symbol.asyncDispose]: () => server.stop(true) });
}
