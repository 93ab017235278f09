/** The TCP servers of the config (`http`, `metrics`): opened before any bot, loaded only where the config names one. */
import type { WebServers, WebServersDeps } from "./web/servers.ts";

export interface WebDeps extends WebServersDeps {
  /** Something is alive, or is to be closed, that must not wait for a page. */
  readonly urgent: () => boolean;
  readonly say: (level: "info" | "alert", text: string) => void;
}

export interface Web {
  /** Opens what is not open yet. */
  readonly retry: () => void;
  readonly stop: (closeActive?: boolean) => Promise<void>;
}

/**
 * Throws `ListenError` (exit code 2) for an address that cannot be had, unless `urgent`: then it is said, and left to `retry`.
 * `undefined` where the config names no server.
 */
export async function openWeb(deps: WebDeps): Promise<Web | undefined> {
  const { config, urgent, say } = deps;
  if (config.http === undefined && config.metrics === undefined) return undefined;
  const { WebServers } = await import("./web/servers.ts");
  const servers = new WebServers(deps);
  const errors = open(servers, say);
  const [first] = errors;
  if (first !== undefined && !urgent()) {
    await servers.stop(true);
    throw first;
  }
  for (const { message } of errors) say("alert", `${message}; supervision goes on without it, and it is tried again`);
  return { retry: () => void open(servers, say), stop: (closeActive) => servers.stop(closeActive) };
}

function open(servers: WebServers, say: WebDeps["say"]): readonly Error[] {
  const { opened, errors } = servers.open();
  for (const text of opened) say("info", text);
  return errors;
}
