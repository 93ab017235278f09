/** What the two TCP servers answer: health for monitors, metrics for Prometheus, a page for people. They change nothing. */
import { isIP } from "node:net";
import type { Status } from "../../../core/status.ts";
import { healthHttpStatus, notReady } from "../../../core/status-http.ts";
import { readOwnUsage } from "../../../platform/own-usage.ts";
import { EXPOSITION_TYPE } from "../../../report/exposition.ts";
import type { ConfigRead } from "../../../report/metric-source.ts";
import { metricsText } from "../../../report/metrics.ts";
import { PAGE_POLICY, statusPage } from "../../../report/status-page.ts";
import { json, noAddress, pathOf, refuse } from "../api.ts";
import { CHALLENGE, type Authorize } from "./auth.ts";

/** Age of the daemon's last beat from which it counts as stalled, ms: it beats each second. */
const STALLED_MS = 5_000;
/** Requests that one server works on at a time; monitors are few, and a flood must not cost the supervision. */
const MAX_PENDING = 32;

export interface WebDeps {
  /** The status of now; the askers of one moment share one. */
  readonly status: () => Promise<Status>;
  /** The same, with the probes of bots that are down. */
  readonly fullStatus: () => Promise<Status>;
  /** Time since the daemon's loop has turned, ms. */
  readonly pulseAgeMs: () => number;
  /** How the last try to read the config ended. */
  readonly configRead: () => ConfigRead;
  /** The daemon is on its way out. */
  readonly stopping: () => boolean;
  /** Names of the bots with `autostart`. */
  readonly autostart: () => readonly string[];
}

type Route = (deps: WebDeps) => Response | Promise<Response>;
export type Routes = Readonly<Record<string, Route>>;

export const HTTP_ROUTES: Routes = { "/": page, "/livez": livez, "/readyz": readyz, "/health": health };
export const METRICS_ROUTES: Routes = { "/metrics": metrics };

export interface Door {
  readonly routes: Routes;
  readonly authorize: Authorize;
  /** Nobody is asked for a password: then only names of this machine are answered to. */
  readonly open: boolean;
}

/** The answer to one request, of `pending` that the server works on. Never throws. */
export async function webAnswer(door: Door, deps: WebDeps, request: Request, pending: number): Promise<Response> {
  try {
    const pathname = pathOf(request);
    if (pathname === undefined) return noAddress();
    const refusal = refusalOf(door, request, pathname, pending);
    if (refusal !== undefined) return refusal;
    const route = door.routes[pathname];
    return route === undefined ? unknownRoute(door.routes, pathname) : await route(deps);
  } catch (error) {
    return internalError(error);
  }
}

/** The answer for what no code expected. */
export function internalError(error: unknown): Response {
  const why = error instanceof Error ? error.message : String(error);
  return refuse(500, { code: "internal", message: `internal error: ${why}` });
}

function refusalOf(door: Door, request: Request, pathname: string, pending: number): Response | undefined {
  if (pending > MAX_PENDING)
    return refuse(503, { code: "busy", message: `cannot answer: more than ${MAX_PENDING} requests at a time` });
  if (door.open && !isOwnName(request.headers.get("host"))) return misdirected();
  if (!door.authorize(request.headers.get("authorization"))) return unauthorized();
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  const refused = refuse(405, {
    code: "readOnly",
    message: `cannot answer ${request.method} ${pathname}: everything here is read-only`,
    hint: "GET or HEAD; commands go over the control socket",
  });
  refused.headers.set("allow", "GET, HEAD");
  return refused;
}

/**
 * A page of the internet may let its own name point to 127.0.0.1 (DNS rebinding) and then read what is served there; the
 * browser still says the name. Addresses and localhost cannot be rebound.
 */
function isOwnName(host: string | null): boolean {
  const name = (host ?? "localhost").replace(/:\d+$/, "");
  return name === "localhost" || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

function misdirected(): Response {
  return refuse(421, {
    code: "foreignName",
    message: "cannot answer: the request is for another host name than localhost",
    hint: "ask by address, let the proxy send Host: localhost, or add auth to this section of the config",
  });
}

function unauthorized(): Response {
  const refused = refuse(401, {
    code: "unauthorized",
    message: "cannot answer: user name and password are missing or wrong",
  });
  refused.headers.set("www-authenticate", CHALLENGE);
  return refused;
}

function unknownRoute(routes: Routes, pathname: string): Response {
  return refuse(404, {
    code: "notFound",
    message: `cannot answer ${pathname}: no such route`,
    hint: `there is ${Object.keys(routes).join(", ")}`,
  });
}

/** A loop that stands still answers nothing; one that only limps answers 503. */
function livez({ pulseAgeMs }: WebDeps): Response {
  const ageMs = pulseAgeMs();
  if (ageMs <= STALLED_MS) return text("ok\n");
  return text(`stalled: the last beat was ${(ageMs / 1_000).toFixed(1)} s ago\n`, 503);
}

async function readyz({ autostart, status, stopping }: WebDeps): Promise<Response> {
  if (stopping()) return text("not ready: the supervisor is stopping\n", 503);
  const waiting = notReady(autostart(), await status());
  return waiting.length === 0 ? text("ok\n") : text(`not ready: ${waiting.join(", ")}\n`, 503);
}

async function health({ status }: WebDeps): Promise<Response> {
  const now = await status();
  return fresh(json(now, healthHttpStatus(now)));
}

async function page({ status }: WebDeps): Promise<Response> {
  const response = text(statusPage(await status()), 200, "text/html; charset=utf-8");
  response.headers.set("content-security-policy", PAGE_POLICY);
  response.headers.set("referrer-policy", "no-referrer");
  return response;
}

async function metrics({ fullStatus, configRead }: WebDeps): Promise<Response> {
  return text(
    metricsText({ ...(await fullStatus()), own: readOwnUsage(), configRead: configRead() }),
    200,
    EXPOSITION_TYPE,
  );
}

function text(body: string, status = 200, type = "text/plain; charset=utf-8"): Response {
  return fresh(new Response(body, { status, headers: { "content-type": type } }));
}

/** Nobody keeps it: it is true for a moment. */
function fresh(response: Response): Response {
  response.headers.set("cache-control", "no-store");
  response.headers.set("x-content-type-options", "nosniff");
  return response;
}
