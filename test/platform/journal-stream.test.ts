/** The stream to journald, against a listener that takes down what a journald would get. */
import { closeSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openJournalStream } from "../../src/platform/journal-stream.ts";
import { libc } from "../../src/platform/libc.ts";
import { unixAddress } from "../../src/platform/unix-address.ts";
import { withOutput } from "../../src/supervisor/runtime/output-target.ts";
import { filesOf } from "../../src/supervisor/runtime/bot-plan.ts";
import { until } from "./until.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sv-journal-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What came, in order, and how many streams have ended. */
function listen(path: string): Disposable & { text: string; ended: number } {
  const heard = { text: "", ended: 0, [Symbol.dispose]: () => server.stop(true) };
  const server = Bun.listen({
    unix: path,
    socket: {
      data: (_socket, bytes) => void (heard.text += bytes.toString()),
      close: () => void (heard.ended += 1),
    },
  });
  return heard;
}

function openOrThrow(path: string): number {
  const stream = openJournalStream("tradingbot-momentum", path);
  if ("error" in stream) throw new Error(stream.error);
  return stream.fd;
}

test("openJournalStream() sends journald's header, then what a program writes to the descriptor, which stays blocking", async () => {
  const path = join(folder, "stdout");
  using journald = listen(path);
  const fd = openOrThrow(path);
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
  expect(Number.parseInt(flags, 8) & 0o4000).toBe(0);
  const child = Bun.spawn(["sh", "-c", "echo to out; echo '<3>to err' >&2"], { stdio: ["ignore", fd, fd] });
  closeSync(fd);
  await child.exited;
  await until("the stream has ended", () => journald.ended === 1);
  expect(journald.text).toBe("tradingbot-momentum\n\n6\n1\n0\n0\n0\nto out\n<3>to err\n");
});

/** As a listener leaves it that was killed. */
function leaveDeadSocket(path: string): void {
  const c = libc();
  const fd = c?.socket(1, 1, 0) ?? -1;
  c?.bind(fd, unixAddress(path) ?? Buffer.alloc(0));
  c?.close(fd);
}

test("openJournalStream() says why there is none: no socket, nobody behind it, no address", () => {
  const path = join(folder, "stdout");
  expect(openJournalStream("x", path)).toEqual({
    error: `cannot open a stream to systemd's journal: ${path}: there is no such socket; journald does not run here`,
  });
  leaveDeadSocket(path);
  expect(openJournalStream("x", path)).toMatchObject({ error: expect.stringContaining("nobody listens") });
  expect(openJournalStream("x", `/${"x".repeat(200)}`)).toMatchObject({
    error: expect.stringContaining("is no address"),
  });
});

const plan = (to: "file" | "journal" | "inherit") => ({
  name: "momentum",
  files: filesOf("momentum", "momentum", { stateDir: "/s", runtimeDir: "/r", logDir: "/l" }),
  config: { output: { to, maxSize: 1, keep: 1, compress: "none" as const } },
});

test("withOutput() gives the file nothing, inherit our own descriptors, and journal a stream that it closes again", () => {
  const facts: string[] = [];
  const fact = (_level: "alert", text: string): void => void facts.push(text);
  const path = join(folder, "stdout");
  using journald = listen(path);
  expect(withOutput(plan("file"), fact, (output) => output, path)).toBeUndefined();
  expect(withOutput(plan("inherit"), fact, (output) => output, path)).toEqual({ stdout: 1, stderr: 2 });
  const output = withOutput(plan("journal"), fact, (given) => given, path);
  expect(output?.stdout).toBe(output?.stderr);
  expect(existsSync(`/proc/self/fd/${output?.stdout}`)).toBe(false);
  expect(facts).toEqual([]);
  expect(journald.ended).toBe(0);
});

test("withOutput() falls back to the file with an alert where there is no journald", () => {
  const facts: string[] = [];
  const path = join(folder, "absent");
  expect(
    withOutput(
      plan("journal"),
      (_level, text) => void facts.push(text),
      (output) => output,
      path,
    ),
  ).toBeUndefined();
  expect(facts).toEqual([
    `cannot open a stream to systemd's journal: ${path}: there is no such socket; journald does not run here; the output of this start goes to /l/momentum.log`,
  ]);
});
