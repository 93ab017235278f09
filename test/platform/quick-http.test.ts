/** Real sockets; what a server may do wrong is played by one that answers raw bytes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../src/platform/clock.ts";
import { quickAsk } from "../../src/platform/quick-http.ts";

interface Rig extends AsyncDisposable {
  readonly unix: string;
  /** All that clients have sent. */
  readonly heard: string[];
}

/** Answers each request with these pieces, or those of `later` from the second on, one per turn of the loop, and hangs up after them when asked to. */
function rawServer(
  pieces: readonly string[],
  { hangUp = false, later = pieces }: { hangUp?: boolean; later?: readonly string[] } = {},
): Rig {
  const dir = mkdtempSync(join(tmpdir(), "qh-"));
  const unix = join(dir, "s");
  const heard: string[] = [];
  let answered = Promise.resolve();
  const server = Bun.listen({
    unix,
    socket: {
      async data(socket, bytes) {
        const { length } = heard;
        heard.push(bytes.toString());
        const before = answered;
        const { promise, resolve: done } = Promise.withResolvers<void>();
        answered = promise;
        await before;
        for (const piece of length === 0 ? pieces : later) {
          // Safe: the pieces are to come one after the other.
          // oxlint-disable-next-line no-await-in-loop
          await new Promise((resolve) => void setImmediate(resolve));
          socket.write(piece);
          socket.flush();
        }
        done();
        if (hangUp) socket.end();
      },
    },
  });
  return {
    unix,
    heard,
    async [Symbol.asyncDispose]() {
      server.stop(true);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function ask(unix: string, deadlineMs = 20_000): ReturnType<typeof quickAsk> {
  return quickAsk({ unix, method: "GET", path: "/v1/x", deadlineMs }, systemClock);
}

test("quickAsk() reads an answer of several MiB as Bun's own server sends it, and sends a body as JSON", async () => {
  const dir = mkdtempSync(join(tmpdir(), "qh-"));
  const unix = join(dir, "s");
  const text = "é".repeat(2_000_000);
  const server = Bun.serve({
    unix,
    fetch: async (request) =>
      Response.json({ text, got: await request.json(), method: request.method }, { status: 409 }),
  });
  try {
    const answer = await quickAsk(
      { unix, method: "POST", path: "/v1/bots/ü%20x/stop", body: { für: "ä" }, deadlineMs: undefined },
      systemClock,
    );
    expect(answer?.status).toBe(409);
    expect(JSON.parse(answer?.text ?? "")).toEqual({ text, got: { für: "ä" }, method: "POST" });
  } finally {
    await server.stop(true);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("quickAsk() puts an answer together that comes byte by byte", async () => {
  const bytes = "HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\nhello";
  await using server = rawServer(Array.from(bytes));
  expect(await ask(server.unix)).toEqual({ status: 200, text: "hello" });
});

test("quickAsk() takes nothing beyond the length of the answer", async () => {
  await using server = rawServer(["HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200"]);
  expect(await ask(server.unix)).toEqual({ status: 204, text: "" });
});

test("quickAsk() is undefined where nobody listens, and for a path that no socket can have", async () => {
  expect(await ask(join(tmpdir(), "no-such-socket"))).toBeUndefined();
  expect(await ask(`/${"x".repeat(200)}`)).toBeUndefined();
});

test("quickAsk() says that it is late when no answer comes in time, and asks once", async () => {
  await using server = rawServer(["HTTP/1.1 200 OK\r\n"]);
  await expect(ask(server.unix, 60)).rejects.toMatchObject({ name: "TimeoutError" });
  expect(server.heard).toHaveLength(1);
});

test.for([
  ["is cut off", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"],
  ["is empty", ""],
  ["is no HTTP", "220 mail.example ESMTP\r\n\r\n"],
  ["has no length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"],
  ["has a head without end", `HTTP/1.1 200 OK\r\n${"x".repeat(20_000)}`],
])("quickAsk() says that the connection is lost when the answer %s", async ([, bytes = ""]) => {
  await using server = rawServer([bytes], { hangUp: true });
  await expect(ask(server.unix)).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(server.heard).toHaveLength(1);
});

const PING = { path: "/v1/ping", deadlineMs: 20_000 };

test("quickAsk() ends at once when nobody waits for its answer any more", async () => {
  await using server = rawServer([]);
  const { unix, heard } = server;
  const isOver = (): boolean => heard.length > 0;
  const asked = quickAsk({ unix, method: "GET", path: "/v1/x", deadlineMs: undefined, isOver }, systemClock);
  await expect(asked).rejects.toThrow("nobody waits for the answer any more");
});

test("quickAsk() sends a request after its ping was answered, over one connection of Bun's own server", async () => {
  const dir = mkdtempSync(join(tmpdir(), "qh-"));
  const unix = join(dir, "s");
  const seen: string[] = [];
  const server = Bun.serve({
    unix,
    fetch: async (request) => {
      seen.push(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`);
      return Response.json({ n: seen.length });
    },
  });
  try {
    const request = { unix, method: "POST", path: "/v1/x", body: "b", deadlineMs: undefined, ping: PING } as const;
    expect(await quickAsk(request, systemClock)).toEqual({ status: 200, text: '{"n":2}' });
    expect(seen).toEqual(["GET /v1/ping ", 'POST /v1/x "b"']);
  } finally {
    await server.stop(true);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("quickAsk() tells the answer of the ping from its own, in whatever pieces they come", async () => {
  const later = Array.from("HTTP/1.1 409 No\r\nContent-Length: 4\r\n\r\nover");
  await using server = rawServer(Array.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup"), { later });
  const request = { unix: server.unix, method: "POST", path: "/v1/x", deadlineMs: 20_000, ping: PING } as const;
  expect(await quickAsk(request, systemClock)).toEqual({ status: 409, text: "over" });
});

test("quickAsk() keeps its request from a server that does not answer the ping", async () => {
  await using server = rawServer([]);
  const ping = { ...PING, deadlineMs: 200 };
  const request = { unix: server.unix, method: "POST", path: "/v1/x", deadlineMs: undefined, ping } as const;
  await expect(quickAsk(request, systemClock)).rejects.toMatchObject({ name: "TimeoutError" });
  expect(server.heard.join("")).toMatch(/^GET \/v1\/ping HTTP\/1\.1\r\n[^]*\r\n\r\n$/);
  expect(server.heard.join("")).not.toContain("POST");
});
