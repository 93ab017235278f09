/** The bot's voice over real sockets: notify datagrams, the HTTP fallback, and a supervisor that does not listen. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createNotifier } from "../../src/bot/index.ts";
import { formatFields, heartbeatBody } from "../../src/bot/notify.ts";
import { receiveDatagrams } from "./datagram-receiver.ts";
import { until } from "./paper.ts";

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), "notify-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test.each([["a path"], ["an abstract name"]])("createNotifier() sends datagrams to %s", (kind) => {
  const path = join(scratch(), "notify.sock");
  const address = kind === "a path" ? path : `@${path}`;
  const next = receiveDatagrams(address);
  const notifier = createNotifier({ NOTIFY_SOCKET: address, SUPERVISOR_SOCKET: "/nowhere" });
  expect(notifier.via).toBe("datagram");
  expect(notifier.ready()).toBe(true);
  expect(notifier.send({ WATCHDOG: 1, STATUS: "2 positions\nopen", X_PROGRESS: 7 })).toBe(true);
  expect([next(), next(), next()]).toEqual(["READY=1", "WATCHDOG=1\nSTATUS=2 positions open\nX_PROGRESS=7", undefined]);
  notifier.close();
  expect(notifier.send({ WATCHDOG: 1 })).toBe(false);
});

test("createNotifier() drops what a stalled or dead supervisor does not take, without waiting", () => {
  const address = `@${join(scratch(), "stalled.sock")}`;
  const deaf = createNotifier({ NOTIFY_SOCKET: address });
  expect(deaf.send({ WATCHDOG: 1 })).toBe(false);
  const next = receiveDatagrams(address);
  const start = performance.now();
  let taken = 0;
  while (taken < 10_000 && deaf.send({ WATCHDOG: 1 })) taken += 1;
  expect(taken).toBeLessThan(10_000);
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(next()).toBe("WATCHDOG=1");
  expect(deaf.send({ X_PROGRESS: 1 })).toBe(true);
  expect(deaf.send({ STATUS: "x".repeat(5_000) })).toBe(false);
  deaf.close();
});

test("createNotifier() outlives its supervisor: dead, gone or full it drops the message, and the next one at the path hears it", () => {
  const path = join(scratch(), "notify.sock");
  const first = receiveDatagrams(path);
  const notifier = createNotifier({ NOTIFY_SOCKET: path });
  expect([notifier.ready(), first()]).toEqual([true, "READY=1"]);
  first.die();
  expect(notifier.send({ WATCHDOG: 1 })).toBe(false);
  rmSync(path);
  expect(notifier.send({ WATCHDOG: 1 })).toBe(false);
  const second = receiveDatagrams(path);
  expect([notifier.send({ X_PROGRESS: 2 }), second()]).toEqual([true, "X_PROGRESS=2"]);
  notifier.close();
});

test("createNotifier() goes on over HTTP when the supervisor has died and another one answers", async () => {
  const socket = join(scratch(), "bot.sock");
  const serve = () => Bun.serve({ unix: socket, fetch: () => Response.json({ beats: (beats += 1) }) });
  let beats = 0;
  const notifier = createNotifier({ SUPERVISOR_SOCKET: socket });
  const first = serve();
  expect(notifier.ready()).toBe(true);
  await until(() => beats === 1, "the first heartbeat");
  await first.stop(true);
  rmSync(socket, { force: true });
  await until(() => notifier.send({ WATCHDOG: 1 }), "a heartbeat into the void");
  await until(() => notifier.send({ WATCHDOG: 1 }), "the end of that heartbeat");
  const second = serve();
  onTestFinished(() => second.stop(true));
  await until(() => notifier.send({ WATCHDOG: 1 }) && beats > 1, "a heartbeat to the next supervisor");
  notifier.close();
});

test("createNotifier() falls back to heartbeats over HTTP, one at a time", async () => {
  const socket = join(scratch(), "bot.sock");
  const seen: unknown[] = [];
  const server = Bun.serve({
    unix: socket,
    async fetch(request) {
      seen.push([request.method, new URL(request.url).pathname, await request.json()]);
      return Response.json({});
    },
  });
  onTestFinished(() => server.stop(true));
  const notifier = createNotifier({ SUPERVISOR_SOCKET: socket });
  expect(notifier.via).toBe("heartbeat");
  expect(notifier.send({ WATCHDOG: 1, STATUS: "1 position open", X_PROGRESS: 3, X_EXPOSURE: "12.5" })).toBe(true);
  expect(notifier.send({ WATCHDOG: 1 })).toBe(false);
  await until(() => notifier.ready(), "the end of the first heartbeat");
  await until(() => seen.length === 2, "the second heartbeat");
  expect(seen).toEqual([
    ["POST", "/v1/heartbeat", { status: "1 position open", progress: 3, exposure: 12.5 }],
    ["POST", "/v1/heartbeat", {}],
  ]);
  notifier.close();
  expect(notifier.send({ WATCHDOG: 1 })).toBe(false);
});

test("createNotifier() says nothing when nobody is there", () => {
  const notifier = createNotifier({ NOTIFY_SOCKET: "relative/path" });
  expect([notifier.via, notifier.ready(), notifier.send({ WATCHDOG: 1 })]).toEqual(["none", false, false]);
});

test("formatFields() keeps a value on its line", () => {
  expect(formatFields({ STATUS: "a\r\n\nMAINPID=1", WATCHDOG: 1 })).toBe("STATUS=a MAINPID=1\nWATCHDOG=1");
});

test("heartbeatBody() takes only what a heartbeat has a place for", () => {
  const fields = { READY: 1, STATUS: "s", X_PROGRESS: "p", X_IN_FLIGHT: 2, X_EXPOSURE: "3" };
  expect(heartbeatBody(fields)).toEqual({ status: "s", progress: "p", inFlight: 2, exposure: 3 });
});
