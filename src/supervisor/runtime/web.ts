/** The TCP servers of the config (`http`, `metrics`): opened before any bot, loaded only where the config names one. */
import type { WebServers, WebServersDeps } from "./web/servers.ts";

export interface WebDeps extends WebServersDeps {
  readonly say: (level: "info" | "alert", text: string) => void;
}

export interface Web {
  /** Opens what is not open yet. */
  readonly retry: () => void;
  /** Why an address of the config is not listened on now; `undefined`: all are. */
  readonly trouble: () => string | undefined;
  readonly stop: (closeActive?: boolean) => Promise<void>;
}

/**
 * An address that cannot be had is said, and left to `retry`: no bot stays down, or unwatched, for want of a page.
 * `undefined` where the config names no server.
 */
export async function openWeb(deps: WebDeps): Promise<Web | undefined> {
  const { config, say } = deps;
  if (config.http === undefined && config.metrics === undefined) return undefined;
  const { WebServers } = await import("./web/servers.ts");
  const servers = new WebServers(deps);
  let errors = open(servers, say);
  for (const { message, hint } of errors)
    say("alert", `${message}; supervision goes on without it, and it is tried again every 10 s: ${hint}`);
  return {
    retry: () => {
      errors = open(servers, say);
    },
    trouble: () => (errors.length === 0 ? undefined : errors.map(({ message }) => message).join("; ")),
    stop: (closeActive) => servers.stop(closeActive),
  };
}

function open(servers: WebServers, say: WebDeps["say"]): ReturnType<WebServers["open"]>["errors"] {
  const { opened, errors } = servers.open();
  for (const text of opened) say("info", text);
  return errors;
}
