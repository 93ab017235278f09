/** Binance USDⓈ-M futures: parameters in query or form, HTTP status and a negative code for a refusal, weights in the reply's headers. */
import type { Bend } from "../matching.ts";
import type { Dialect, DialectHost, Incoming } from "../dialect.ts";
import { fireAlgoOrder } from "./algo.ts";
import { VenueError } from "./errors.ts";
import { Limits } from "./limits.ts";
import { routes } from "./routes.ts";
import { checkSigned, parseParams, type Params } from "./signing.ts";

/** Codes of refusals that a well-behaved client never causes: limits, key, signature, reused client id. */
const VIOLATION_CODES: ReadonlySet<number> = new Set([-1003, -1015, -1022, -2014, -2015, -4015, -4116]);
const DEFAULT_REFUSAL_STATUS = 400;

export function binanceDialect(host: DialectHost): Dialect {
  const limits = new Limits(host.speed);
  const refusal = (error: VenueError): Response =>
    Response.json(
      { code: error.code, msg: error.message },
      { status: error.status, headers: { ...limits.headers(), ...error.headers } },
    );
  const execute = (incoming: Incoming, bend: Bend, now: number): Response => {
    try {
      const reply = handle(host, limits, incoming, bend, now);
      return Response.json(reply, { headers: limits.headers() });
    } catch (error) {
      if (!(error instanceof VenueError)) throw error;
      const label = labelOf(incoming);
      host.log(`refused ${label}: ${error.code} ${error.message}`);
      if (VIOLATION_CODES.has(error.code)) host.violation(`${label}: ${error.code} ${error.message}`);
      return refusal(error);
    }
  };
  return {
    knows: (label) => routes.has(label),
    execute,
    refuse: ({ code, msg, status = DEFAULT_REFUSAL_STATUS }) => refusal(new VenueError(code, msg, status)),
    rateLimit: (retryAfterSeconds) => {
      const text = "Too many requests; current limit of IP is 2400 requests per minute.";
      return refusal(new VenueError(-1003, text, 429, { "Retry-After": String(retryAfterSeconds) }));
    },
    ban: (seconds, now) => refusal(limits.ban(seconds, now)),
    fire: (order, now) => fireAlgoOrder(host.books, order, now),
    reset: () => limits.reset(),
  };
}

function handle(
  { books, credentials, log }: DialectHost,
  limits: Limits,
  incoming: Incoming,
  bend: Bend,
  now: number,
): unknown {
  const label = labelOf(incoming);
  const { query, body, headers } = incoming;
  const params = parseParams(query, body);
  const route = routes.get(label);
  if (route === undefined) throw new VenueError(-5000, `Path ${label} is invalid`, 404);
  const banned = limits.banned(now);
  if (banned !== undefined) throw banned;
  limits.spend(route.weight(params), route.order === true ? 1 : 0, now);
  if (route.signed === true) checkSigned(credentials, { key: headers.get("X-MBX-APIKEY"), query, body, params }, now);
  if (route.trades === true && !books.account.canTrade) {
    throw new VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401);
  }
  const reply = route.handle({ books, params, now, bend });
  if (route.order === true) log(describeOrder(params));
  return reply;
}

function labelOf({ method, path }: Incoming): string {
  return `${method} ${path}`;
}

function describeOrder(params: Params): string {
  const part = (name: string): string => params.get(name) ?? "";
  const id = params.get("newClientOrderId") ?? part("clientAlgoId");
  const reduce = params.get("reduceOnly") === "true" ? " reduce-only" : "";
  return `${part("side")} ${part("quantity")} ${part("symbol")} ${part("type")}${reduce} ${id}`;
}
