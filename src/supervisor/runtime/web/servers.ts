/**
 * The two TCP servers of the config, `http` and `metrics`. This folder is loaded only where the config has one of them.
 * A bound of Bun.serve that holds here: 16 KiB of headers (431).
 */
import type { Server } from "bun";
import { parseListen, type ListenAddress } from "../../../core/listen.ts";
import type { Status } from "../../../core/status.ts";
import { probeName } from "../../../probes/index.ts";
import type { BotConfig, Config, ListenerConfig } from "../config/load.ts";
import { processProbe } from "../generation.ts";
import { withProcessProbe } from "../schedule.ts";
import { HTTP_ROUTES, internalError, METRICS_ROUTES, webAnswer, type Routes, type WebDeps } from "./answers.ts";
import { authorizer } from "./auth.ts";

/** Largest request body, bytes: nothing here reads one, but a client may send a few bytes with a GET. */
const MAX_BODY_BYTES = 1_024;
/** Time after which an idle connection is ended, seconds: longer than any answer takes, shorter than a scrape interval. */
const IDLE_SECONDS = 10;

const SECTIONS = { http: HTTP_ROUTES, metrics: METRICS_ROUTES } as const;
type Section = keyof typeof SECTIONS;

export interface WebServersDeps extends Omit<WebDeps, "autostart" | "fullStatus"> {
  readonly config: Config;
  /** The bots of the config; a reload makes them others. */
  readonly bots: () => Config["bots"];
}

/** An address of the config on which nobody can listen now. */
export class ListenError extends Error {
  readonly hint: string;

  constructor(message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

export class WebServers {
  readonly #config: Config;
  readonly #deps: WebDeps;
  readonly #servers = new Map<Section, Server<undefined>>();

  constructor({ config, bots, ...deps }: WebServersDeps) {
    const status = shared(deps.status);
    this.#config = config;
    this.#deps = {
      ...deps,
      status,
      fullStatus: async () => withProbesOfDown(await status(), bots()),
      autostart: () =>
        Object.values(bots())
          .filter((bot) => bot.autostart)
          .map((bot) => bot.name),
    };
  }

  /** Opens what the config names and is not open yet; says where each listens now and why one cannot. Never throws. */
  open(): { readonly opened: readonly string[]; readonly errors: readonly ListenError[] } {
    const opened: string[] = [];
    const errors: ListenError[] = [];
    for (const section of ["http", "metrics"] as const) {
      const listener = this.#config[section];
      if (listener === undefined || this.#servers.has(section)) continue;
      try {
        const server = serve(listener, SECTIONS[section], this.#deps);
        this.#servers.set(section, server);
        opened.push(`${section} listens on ${server.url.href}`);
      } catch (error) {
        errors.push(listenError(section, listener.listen, error));
      }
    }
    return { opened, errors };
  }

  /** Closes the ports; with `closeActive`, without waiting for answers that are under way. */
  async stop(closeActive = false): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.stop(closeActive)));
    this.#servers.clear();
  }
}

function serve(listener: ListenerConfig, routes: Routes, deps: WebDeps): Server<undefined> {
  const address = parseListen(listener.listen);
  if (address === undefined) throw new Error(`internal error: ${listener.listen} passed the config check`);
  const door = { routes, authorize: authorizer(listener.auth), open: listener.auth === undefined };
  return listen(address, (request, self) => webAnswer(door, deps, request, self.pendingRequests));
}

type Fetch = (request: Request, self: Server<undefined>) => Promise<Response>;

/** Every address is both families by one socket; a kernel without IPv6 has the older one alone. */
function listen({ host, port }: ListenAddress, fetch: Fetch): Server<undefined> {
  const open = (hostname: string): Server<undefined> =>
    Bun.serve({
      hostname,
      port,
      maxRequestBodySize: MAX_BODY_BYTES,
      idleTimeout: IDLE_SECONDS,
      fetch,
      error: internalError,
    });
  if (host !== undefined) return open(host);
  try {
    return open("::");
  } catch (error) {
    if (codeOf(error) === "EADDRINUSE") throw error;
    return open("0.0.0.0");
  }
}

const REASONS: Readonly<Record<string, readonly [why: string, fix: string]>> = {
  EADDRINUSE: ["another program has the port", "end that program (ss -ltnp shows it), or write another port"],
  EADDRNOTAVAIL: ["this machine has no such address", "write an address that ip addr shows"],
  EACCES: ["ports below 1024 are for root", "write a port above 1023"],
};

function listenError(section: Section, address: string, error: unknown): ListenError {
  const why = error instanceof Error ? error.message : String(error);
  const [reason, fix] = REASONS[codeOf(error) ?? ""] ?? [why, "correct it"];
  return new ListenError(`cannot listen on ${address}: ${reason}`, `${fix} in ${section}.listen of the config`, {
    cause: error,
  });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** One run of `ask` at a time; who asks meanwhile gets its answer. */
export function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= ask().finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** The status lists probes of living bots only; a metric of a probe must not vanish with its bot. */
function withProbesOfDown(status: Status, configs: Readonly<Record<string, BotConfig>>): Status {
  const bots = status.bots.map((bot) => {
    const config = configs[bot.name];
    return bot.probes.length > 0 || config === undefined ? bot : { ...bot, probes: pendingProbes(config) };
  });
  return { ...status, bots };
}

function pendingProbes({ probes }: BotConfig): Status["bots"][number]["probes"] {
  return withProcessProbe(probes, processProbe).map((probe) => ({
    name: probeName(probe),
    kind: probe.kind,
    role: probe.role,
    verdict: "pending",
    result: null,
    reason: null,
    failures: 0,
    lastAt: null,
    latencySeconds: null,
  }));
}
