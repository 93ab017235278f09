/** OKX: JSON both ways, status 200 with a code for most refusals, orders acknowledged without their fills, a refusal of its own for each order of a list. */
import type { Bend } from "../matching.ts";
import type { Dialect, DialectHost, Incoming } from "../dialect.ts";
import { html } from "../transport.ts";
import { fireAlgoOrder } from "./algo.ts";
import { ItemError, RequestError } from "./errors.ts";
import { Limits } from "./limits.ts";
import { readParams, type Params } from "./params.ts";
import { routes, type Route } from "./routes.ts";
import { checkSigned } from "./signing.ts";

/** Codes of refusals that a well-behaved client never causes: limits, key, signature, reused or malformed client ids. */
const VIOLATION_CODES: ReadonlySet<string> = new Set(["50011", "50061", "50111", "50105", "50113", "51016", "50025"]);
const ALL_FAILED = "1";
const SOME_FAILED = "2";
const MESSAGES: Readonly<Record<string, string>> = {
  "0": "",
  [ALL_FAILED]: "All operations failed",
  [SOME_FAILED]: "Bulk operation partially succeeded.",
};

interface Reply {
  code: string;
  data: unknown[];
  msg: string;
}

export function okxDialect(host: DialectHost): Dialect {
  const limits = new Limits(host.speed);
  return {
    knows: (label) => routes.has(label),
    execute: (incoming, bend, now) => answer(host, limits, incoming, bend, now),
    refuse: ({ code, msg, status = 200 }, incoming) => Response.json(refusal(String(code), msg, incoming), { status }),
    rateLimit: () => Response.json({ code: "50011", data: [], msg: "Too Many Requests" }, { status: 429 }),
    ban(seconds, now) {
      limits.ban(seconds, now);
      return banned(seconds);
    },
    fire: (order, now) => fireAlgoOrder(host.books, order, now),
    reset: () => limits.reset(),
  };
}

/** The gateway in front of OKX turns away who ignores its limits, before OKX sees the request. */
function banned(seconds: number): Response {
  const response = html(429, "<html><head><title>Access denied</title></head><body>error code: 1015</body></html>");
  response.headers.set("Retry-After", String(seconds));
  return response;
}

/** A refusal of the request, or of its one order where orders have refusals of their own. */
function refusal(code: string, msg: string, incoming: Incoming): Reply {
  if (routes.get(labelOf(incoming))?.batch === undefined) return { code, data: [], msg };
  return { code: ALL_FAILED, data: [refusedItem(code, msg, new Map())], msg: MESSAGES[ALL_FAILED] ?? "" };
}

function refusedItem(code: string, msg: string, params: Params): object {
  return {
    clOrdId: params.get("clOrdId") ?? "",
    ordId: "",
    sCode: code,
    sMsg: msg,
    tag: params.get("tag") ?? "",
    ts: "",
  };
}

function answer(host: DialectHost, limits: Limits, incoming: Incoming, bend: Bend, now: number): Response {
  const label = labelOf(incoming);
  // The venue's own clock, whatever the machine's is.
  const headers = { Date: new Date(now).toUTCString() };
  const bannedSeconds = limits.bannedSeconds(now);
  if (bannedSeconds > 0) {
    host.violation(`${label}: banned`);
    return banned(bannedSeconds);
  }
  try {
    return Response.json(handle(host, limits, incoming, bend, now), { headers });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    note(host, label, error);
    return Response.json({ code: error.code, data: [], msg: error.message }, { status: error.status, headers });
  }
}

function handle(host: DialectHost, limits: Limits, incoming: Incoming, bend: Bend, now: number): Reply {
  const label = labelOf(incoming);
  const route = routes.get(label);
  if (route === undefined) throw new RequestError("404", "Not Found", 404);
  if (route.signed === true) checkSigned(host.credentials, incoming, now);
  const items = readParams(incoming);
  const instruments = items.map((params) => params.get("instId") ?? "");
  limits.spend(label, route.limit, instruments, now);
  if (route.order === true) limits.spendOrders(items.length, now);
  if (route.signed === true && incoming.method === "POST" && !host.books.account.canTrade) {
    throw new RequestError("50120", "This API key doesn't have permission to use this function");
  }
  if (route.batch !== undefined) return handleItems(host, route, items, { incoming, bend, now });
  const [params = new Map<string, string>()] = items;
  try {
    return { code: "0", data: route.handle({ books: host.books, params, now, bend }), msg: "" };
  } catch (error) {
    if (!(error instanceof ItemError)) throw error;
    throw new RequestError(error.code, error.message);
  }
}

/** Each order for itself; the code says whether all, some or none went through. */
function handleItems(
  host: DialectHost,
  route: Route,
  items: readonly Params[],
  { incoming, bend, now }: { incoming: Incoming; bend: Bend; now: number },
): Reply {
  const { batch = 1 } = route;
  if (items.length > batch) throw new RequestError("50025", `Parameter orders count exceeds the limit ${batch}.`);
  let failed = 0;
  const data = items.flatMap((params) => {
    try {
      if (route.order === true) checkDeadline(incoming, now);
      const done = route.handle({ books: host.books, params, now, bend });
      if (route.order === true) host.log(describeOrder(params));
      return done;
    } catch (error) {
      if (!(error instanceof ItemError)) throw error;
      failed += 1;
      note(host, labelOf(incoming), error);
      return [refusedItem(error.code, error.message, params)];
    }
  });
  const code = failed === 0 ? "0" : failed === items.length ? ALL_FAILED : SOME_FAILED;
  return { code, data, msg: MESSAGES[code] ?? "" };
}

/** A request that names a deadline (header `expTime`) is not executed after it. */
function checkDeadline({ headers }: Incoming, now: number): void {
  const deadline = headers.get("expTime");
  if (deadline === null || Number(deadline) >= now) return;
  const text = "The expTime can't be earlier than the current system time. Please adjust the expTime and try again.";
  throw new ItemError("50036", text);
}

function note(host: DialectHost, label: string, { code, message }: ItemError | RequestError): void {
  host.log(`refused ${label}: ${code} ${message}`);
  const badId = code === "51000" && message.includes("lOrdId");
  if (badId || VIOLATION_CODES.has(code)) host.violation(`${label}: ${code} ${message}`);
}

function labelOf({ method, path }: Incoming): string {
  return `${method} ${path}`;
}

function describeOrder(params: Params): string {
  const part = (name: string): string => params.get(name) ?? "";
  const reduce = params.get("reduceOnly") === "true" ? " reduce-only" : "";
  const side = part("side").toUpperCase();
  return `${side} ${part("sz")} ${part("instId")} ${part("ordType").toUpperCase()}${reduce} ${part("clOrdId")}`;
}
