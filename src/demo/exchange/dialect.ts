/** What one venue's way of speaking must do: read a request, judge it, word the reply. Books, faults and control are the same behind all. */
import type { AlgoOrder } from "./account.ts";
import type { Bend, Books } from "./matching.ts";

export interface Credentials {
  apiKey: string;
  apiSecret: string;
  /** Asked for by OKX only. */
  apiPassphrase: string;
}

/** A request as it came over the wire. */
export interface Incoming {
  method: string;
  path: string;
  headers: Headers;
  /** Without the question mark. */
  query: string;
  body: string;
}

export interface DialectHost {
  books: Books;
  credentials: Credentials;
  /** How many times faster than the clock on the wall limits and bans run. */
  speed: number;
  log: (line: string) => void;
  /** Told of what a well-behaved client never causes: passed limits, wrong keys and signatures, reused client ids. */
  violation: (what: string) => void;
}

export interface Dialect {
  /** Whether the venue has an endpoint of that "METHOD /path". */
  knows: (label: string) => boolean;
  /** Executes a request at the venue's time `now`, ms; a refusal is a reply, too. */
  execute: (incoming: Incoming, bend: Bend, now: number) => Response;
  /** The refusal of fault `apiCode`. */
  refuse: (fault: { code: number; msg: string; status?: number | undefined }, incoming: Incoming) => Response;
  /** The refusal of fault `rateLimit`. */
  rateLimit: (retryAfterSeconds: number) => Response;
  /** Refuses every request for `seconds`; the first of these refusals. */
  ban: (seconds: number, now: number) => Response;
  /** Places what a triggered conditional order stands for; `false` when the book refused it. */
  fire: (order: AlgoOrder, now: number) => boolean;
  /** Fills what the mark price has reached, where the books of futures do not say how; absent: they do. */
  match?: (now: number) => void;
  /** Forgets limits and bans. */
  reset: () => void;
}
