/** The notify socket against real senders: systemd's own tool, a burst, a stranger, and broken datagrams. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import * as z from "zod";
import { systemClock as clock } from "../../src/platform/clock.ts";
import { sendNotify } from "../../src/platform/notify-send.ts";
import { openNotifySocket } from "../../src/platform/notify-socket.ts";
import type { Datagram, NotifySocket } from "../../src/platform/notify-socket.ts";
import { FIXTURES, until } from "./until.ts";

const resultSchema = z.strictObject({
  received: z.int(),
  dropped: z.int(),
  turns: z.int(),
  first: z.array(z.strictObject({ text: z.string(), pid: z.int(), fds: z.int() })),
});
let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "notify-"));
  path = join(folder, "notify.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(onDatagram: (datagram: Datagram) => void, at = path): NotifySocket {
  const socket = openNotifySocket({ path: at, mode: 0o660, clock, onDatagram });
  if ("error" in socket) throw new Error(socket.error);
  return socket;
}

/** The receiver on the main thread of a process of its own, where SIGIO arrives. */
function startReceiver(count: number) {
  const child = Bun.spawn({
    cmd: [process.execPath, join(FIXTURES, "notify-receiver.ts"), path, String(count)],
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { child, ready: until("the socket", () => statSync(path, { throwIfNoEntry: false })?.isSocket()) };
}

test("a burst of 20 000 datagrams is counted to the last, and the loop turns meanwhile", async () => {
  const { child, ready } = startReceiver(20_000);
  await ready;
  const sender = Bun.spawn({
    cmd: [process.execPath, join(FIXTURES, "notify-burst.ts"), path, "20000"],
    stdio: ["ignore", "inherit", "inherit"],
  });
  const last = (await child.stdout.text()).trim().split("\n").at(-1) ?? "";
  expect(await sender.exited).toBe(0);
  const result = resultSchema.parse(JSON.parse(last));
  expect(result).toMatchObject({ received: 20_000, dropped: 0 });
  expect(result.turns).toBeGreaterThan(2);
  expect(result.first[0]).toEqual({ text: "WATCHDOG=1\nX_PROGRESS=0", pid: sender.pid, fds: 0 });
});

test("systemd-notify does not wait out its 5 s, as its BARRIER is answered", async (context) => {
  if (Bun.which("systemd-notify") === null) context.skip("systemd-notify is not installed");
  const { child, ready } = startReceiver(2);
  await ready;
  const startMs = performance.now();
  const tool = Bun.spawn({
    cmd: ["systemd-notify", "--ready", "--status=3 positions open"],
    env: { PATH: "/usr/bin:/bin", NOTIFY_SOCKET: path },
    stdio: ["ignore", "ignore", "inherit"],
  });
  expect(await tool.exited).toBe(0);
  // It is read from a cold disk, maybe.
  expect(performance.now() - startMs).toBeLessThan(4_500);
  const last = (await child.stdout.text()).trim().split("\n").at(-1) ?? "";
  expect(JSON.parse(last)).toMatchObject({
    first: [
      { text: "READY=1\nSTATUS=3 positions open", fds: 0 },
      { text: "BARRIER=1", pid: tool.pid, fds: 1 },
    ],
  });
});

test("drain() hands datagrams on in their order with the sender's pid and uid, a stranger's with his own", async () => {
  const seen: Datagram[] = [];
  const socket = open((datagram) => seen.push(datagram));
  expect(sendNotify(path, "READY=1")).toBe(true);
  const stranger = Bun.spawn({
    cmd: [process.execPath, join(FIXTURES, "notify-burst.ts"), path, "1"],
    stdio: ["ignore", "inherit", "inherit"],
  });
  expect(await stranger.exited).toBe(0);
  expect(socket.drain(1_000)).toBe(2);
  expect(seen).toEqual([
    { text: "READY=1", pid: process.pid, uid: process.getuid?.(), fds: 0 },
    { text: "WATCHDOG=1\nX_PROGRESS=0", pid: stranger.pid, uid: process.getuid?.(), fds: 0 },
  ]);
  expect([socket.received, socket.dropped, socket.drain()]).toEqual([2, 0, 0]);
  socket.close();
});

test("drain() drops and counts what is too long or has a NUL inside, and takes one trailing NUL", () => {
  const seen: string[] = [];
  const socket = open(({ text }) => seen.push(text));
  for (const text of ["x".repeat(4_097), "A=1\0B=2", "STATUS=é\0", "y".repeat(4_096)]) {
    expect(sendNotify(path, text)).toBe(true);
  }
  socket.drain(1_000);
  expect(seen).toEqual(["STATUS=é", "y".repeat(4_096)]);
  expect([socket.received, socket.dropped]).toEqual([2, 2]);
  socket.close();
});

test("openNotifySocket() replaces a stale socket, sets the mode, and removes the file at close()", () => {
  const first = open(() => undefined);
  const second = open(() => undefined);
  expect(statSync(path).mode & 0o777).toBe(0o660);
  second.close();
  first.close();
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  expect([second.drain(), sendNotify(path, "READY=1")]).toEqual([0, false]);
});

test.each([
  ["too long", (at: string) => join(at, "x".repeat(108)), /longer than 107 bytes/],
  ["in no folder", (at: string) => join(at, "none", "s"), /errno 2/],
  ["a file", (at: string) => join(at, "file"), /a file that is not a socket is in its place/],
])("openNotifySocket() refuses a path that is %s", (_, at, why) => {
  writeFileSync(join(folder, "file"), "");
  const options = { path: at(folder), mode: 0o600, clock, onDatagram: () => undefined };
  expect(openNotifySocket(options)).toEqual({ error: expect.stringMatching(why) });
});

test("sendNotify() reaches an abstract socket and does not block on a full one", () => {
  let count = 0;
  const name = `@supervisor-test-${process.pid}-${path.slice(-12)}`;
  const socket = openNotifySocket({ path, mode: 0o600, clock, onDatagram: () => (count += 1) });
  if ("error" in socket) throw new Error(socket.error);
  let sent = 0;
  while (sent < 100_000 && sendNotify(path, "WATCHDOG=1")) sent += 1;
  expect(sent).toBeLessThan(100_000);
  while (socket.drain(1_000) > 0);
  expect(count).toBe(sent);
  expect(sendNotify(name, "READY=1")).toBe(false);
  socket.close();
});
