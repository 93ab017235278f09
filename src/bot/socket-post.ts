/** A request to the supervisor over the bot's own socket, under Bun and under Node. */

const JSON_HEADERS = { "Content-Type": "application/json" };

export interface SocketPost {
  readonly socket: string;
  readonly path: string;
  /** JSON; without it the request has no body. */
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** Resolves when an answer is there, whatever it says; rejects when none comes. */
export function postToSocket(post: SocketPost): Promise<void> {
  return typeof Bun === "undefined" ? postByHttp(post) : postByFetch(post);
}

async function postByFetch({ socket, path, body, signal }: SocketPost): Promise<void> {
  const content = body === undefined ? {} : { headers: JSON_HEADERS, body };
  const response = await fetch(`http://supervisor${path}`, { unix: socket, method: "POST", ...content, signal });
  await response.arrayBuffer();
}

/** For Node, whose fetch knows no unix sockets. */
export async function postByHttp({ socket, path, body, signal }: SocketPost): Promise<void> {
  const { request } = await import("node:http");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const headers = body === undefined ? {} : JSON_HEADERS;
  const posted = request({ socketPath: socket, path, method: "POST", headers, signal }, (response) => {
    response.resume();
    response.on("end", resolve);
    response.on("error", reject);
  });
  posted.on("error", reject);
  posted.end(body);
  return promise;
}
