import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { ProbeResult } from "../../src/core/verdict.ts";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function serve(answer: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  cleanups.push(() => server.stop(true));
  return `http://127.0.0.1:${server.port}`;
}

/** A server that answers each connection with raw bytes and then does nothing more. */
async function serveRaw(onConnection: (socket: Socket) => void): Promise<{ url: string; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { url: `http://127.0.0.1:${address.port}`, server };
}

function ask(url: string, fields: object = {}, cwd = "/tmp"): Promise<ProbeResult> {
  const config = probeSchema.parse({ kind: "http", url, timeout: "5s", ...fields });
  return createProbe(config, probeContext({ cwd })).run(noAbort());
}

describe("http status", () => {
  test.each([
    [200, {}, "success"],
    [204, {}, "success"],
    [399, {}, "success"],
    [400, {}, "failure"],
    [503, {}, "failure"],
    [200, { expectStatus: [204] }, "failure"],
    [503, { expectStatus: [200, 503] }, "success"],
  ] as const)("%i with %o is %s", async (status, fields, kind) => {
    const url = serve(() => new Response(null, { status }));
    expect((await ask(url, fields)).kind).toBe(kind);
  });

  test("a redirect is a success and is not followed", async () => {
    const asked: string[] = [];
    const url = serve((request) => {
      asked.push(new URL(request.url).pathname);
      return Response.redirect("/elsewhere", 302);
    });
    expect(await ask(`${url}/health`)).toEqual({ kind: "success" });
    expect(asked).toEqual(["/health"]);
  });

  test("a failure names method, address without its query, status and the start of the body on one line", async () => {
    const url = serve(() => new Response(`feed\n\u001b[31mstale ${"x".repeat(2_000)}`, { status: 503 }));
    const result = await ask(`${url}/health?token=secret`);
    expect(result).toMatchObject({ kind: "failure" });
    const reason = result.kind === "failure" ? result.reason : "";
    expect(reason.startsWith(`GET ${url}/health: status 503: feed [31mstale xxx`)).toBe(true);
    expect(reason.length).toBeLessThan(600);
    expect(reason).not.toContain("secret");
  });
});

describe("http body", () => {
  test("must contain expectBody", async () => {
    const url = serve(() => new Response('{"status":"ok"}'));
    expect(await ask(url, { expectBody: '"ok"' })).toEqual({ kind: "success" });
    expect(await ask(url, { expectBody: "ready" })).toEqual({
      kind: "failure",
      reason: `GET ${url}/: body lacks "ready": {"status":"ok"}`,
    });
  });

  test("is read to 64 KiB only, also when it never ends", async () => {
    const chunk = new Uint8Array(16_384).fill(120);
    const { url } = await serveRaw((socket) => {
      // Its length is a lie: the chunks count.
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
      const piece = Buffer.concat([Buffer.from("4000\r\n"), chunk, Buffer.from("\r\n")]);
      // Not from within the callback: once the probe has hung up, that may come at once each time, and nothing else would run any more.
      const more = (): void => {
        if (!socket.destroyed) socket.write(piece, () => setImmediate(more));
      };
      more();
    });
    expect(await ask(url)).toEqual({ kind: "success" });
    expect(await ask(url, { expectBody: "never" })).toMatchObject({ kind: "failure" });
  });

  test("that is compressed is read to 64 KiB only, whatever its length says", async () => {
    const page = Bun.gzipSync(`${"x".repeat(100_000)}end`);
    const headers = { "content-encoding": "gzip", "content-length": String(page.length) };
    const url = serve(() => new Response(page, { headers }));
    expect(await ask(url, { expectBody: "xxx" })).toEqual({ kind: "success" });
    expect(await ask(url, { expectBody: "end" })).toMatchObject({ kind: "failure" });
  });

  test("that stalls is a failure at the timeout", async () => {
    const { url } = await serveRaw((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc"));
    expect(await ask(url, { timeout: "100ms" })).toEqual({ kind: "failure", reason: "no answer within 100ms" });
  });
});

describe("http request", () => {
  test("sends method and headers, on a connection of its own", async () => {
    let seen: { method: string; header: string | null; connection: string | null } | undefined;
    const url = serve((request) => {
      const { headers, method } = request;
      seen = { method, header: headers.get("x-probe"), connection: headers.get("connection") };
      return new Response("ok");
    });
    expect(await ask(url, { method: "HEAD", headers: { "X-Probe": "1" } })).toEqual({ kind: "success" });
    expect(seen).toEqual({ method: "HEAD", header: "1", connection: "close" });
  });

  test("goes to a unix socket below the bot's cwd", async () => {
    const cwd = mkdtempSync(join(tmpdir(), "probe-http-"));
    cleanups.push(() => rmSync(cwd, { recursive: true }));
    const server = Bun.serve({ unix: join(cwd, "bot.sock"), fetch: () => new Response("ok") });
    cleanups.push(() => server.stop(true));
    expect(await ask("http://bot/health", { unixSocket: "bot.sock" }, cwd)).toEqual({ kind: "success" });
    expect(await ask("http://bot/health", { unixSocket: "none.sock" }, cwd)).toEqual({
      kind: "failure",
      reason: "cannot reach GET http://bot/health (none.sock): no such socket",
    });
  });

  test("ignores a proxy in the environment", async () => {
    const before = process.env["http_proxy"];
    process.env["http_proxy"] = "http://127.0.0.1:1";
    cleanups.push(() => {
      if (before === undefined) delete process.env["http_proxy"];
      else process.env["http_proxy"] = before;
    });
    expect(await ask(serve(() => new Response("ok")))).toEqual({ kind: "success" });
  });
});

describe("http without an answer", () => {
  test("a refused connection is a failure", async () => {
    const { url, server } = await serveRaw(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    expect(await ask(url)).toEqual({ kind: "failure", reason: `cannot reach GET ${url}/: connection refused` });
  });

  test("a server that accepts and says nothing is a failure at the timeout", async () => {
    const { url } = await serveRaw(() => undefined);
    expect(await ask(url, { timeout: "100ms" })).toEqual({ kind: "failure", reason: "no answer within 100ms" });
  });

  test("the connection is closed at the timeout", async () => {
    let closed: Promise<void> | undefined;
    const { url } = await serveRaw((socket) => {
      closed = new Promise((resolve) => socket.on("close", () => resolve()));
      socket.resume();
    });
    await ask(url, { timeout: "100ms" });
    expect(closed).toBeDefined();
    await closed;
  });

  test("a connection closed without an answer is a failure", async () => {
    const { url } = await serveRaw((socket) => socket.destroy());
    expect(await ask(url)).toMatchObject({ kind: "failure" });
  });

  test("an answer that is not HTTP is a failure", async () => {
    const { url } = await serveRaw((socket) => socket.end("hello\r\n\r\n"));
    expect(await ask(url)).toMatchObject({ kind: "failure" });
  });

  test("a name that does not resolve is unknown, or the failure of an upstream", async () => {
    expect(await ask("http://bot.invalid/health", { upstream: false })).toMatchObject({ kind: "unknown" });
    expect(await ask("http://venue.invalid/ping")).toMatchObject({ kind: "failure" });
  });
});
