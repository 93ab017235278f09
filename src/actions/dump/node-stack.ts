/**
 * The JavaScript stack of a hung Node.js process, asked through its inspector (Chrome DevTools Protocol): SIGUSR1 opens it on
 * loopback, also while the event loop is busy. Only for a process that is about to be ended, since the port stays open.
 */
import * as z from "zod";
import { sleep, systemClock } from "../../platform/clock.ts";
import { listeningPorts } from "../../platform/proc-net.ts";

/** Time for all of it, ms. */
const DEADLINE_MS = 1_500;
const POLL_MS = 20;
const MAX_FRAMES = 50;

const targetsSchema = z.array(z.looseObject({ webSocketDebuggerUrl: z.string() }));
const pausedSchema = z.looseObject({
  method: z.literal("Debugger.paused"),
  params: z.looseObject({
    callFrames: z.array(
      z.looseObject({
        functionName: z.string(),
        location: z.looseObject({ scriptId: z.string(), lineNumber: z.int(), columnNumber: z.int().optional() }),
      }),
    ),
  }),
});

const parsedSchema = z.looseObject({
  method: z.literal("Debugger.scriptParsed"),
  params: z.looseObject({ scriptId: z.string(), url: z.string() }),
});

/** One frame a line, innermost first. The process must handle SIGUSR1: another is killed by it. Rejects when the process does not answer in time. */
export async function nodeStack(pid: number): Promise<string> {
  const endMs = systemClock.monotonicMs() + DEADLINE_MS;
  const before = listeningPorts(pid);
  process.kill(pid, "SIGUSR1");
  const url = await inspectorOf(pid, before, endMs);
  const signal = AbortSignal.timeout(Math.max(1, endMs - systemClock.monotonicMs()));
  return framesBy(new WebSocket(url), signal);
}

/** The process's own new port: another process may hold the usual one. */
async function inspectorOf(pid: number, before: ReadonlySet<number>, endMs: number): Promise<string> {
  while (systemClock.monotonicMs() < endMs) {
    for (const port of listeningPorts(pid)) {
      if (before.has(port)) continue;
      // Safe: one port after the other, usually one.
      // oxlint-disable-next-line no-await-in-loop
      const url = await debuggerUrl(port, endMs);
      if (url !== undefined) return url;
    }
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(systemClock, POLL_MS);
  }
  throw new Error(`cannot ask pid ${pid} for its stack: its inspector did not open within ${DEADLINE_MS} ms`);
}

async function debuggerUrl(port: number, endMs: number): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(Math.max(1, endMs - systemClock.monotonicMs()));
    const answer: unknown = await (await fetch(`http://127.0.0.1:${port}/json/list`, { signal })).json();
    return targetsSchema.safeParse(answer).data?.[0]?.webSocketDebuggerUrl;
  } catch {
    // No inspector there.
    return undefined;
  }
}

function framesBy(socket: WebSocket, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  // Said when the debugger is enabled, before any pause.
  const scripts = new Map<string, string>();
  const say = (id: number, method: string): void => socket.send(JSON.stringify({ id, method }));
  signal.addEventListener("abort", () => reject(new Error("the inspector did not stop the program in time")));
  socket.addEventListener("error", () => reject(new Error("the inspector closed the connection")));
  socket.addEventListener("open", () => {
    say(1, "Debugger.enable");
    say(2, "Debugger.pause");
  });
  socket.addEventListener("message", ({ data }) => {
    const message: unknown = typeof data === "string" ? JSON.parse(data) : undefined;
    const script = parsedSchema.safeParse(message).data;
    if (script !== undefined) scripts.set(script.params.scriptId, script.params.url);
    const paused = pausedSchema.safeParse(message).data;
    if (paused === undefined) return;
    const frames = paused.params.callFrames.slice(0, MAX_FRAMES).map(({ functionName, location }) => {
      const { scriptId, lineNumber, columnNumber = 0 } = location;
      return `${functionName || "(anonymous)"} (${scripts.get(scriptId) ?? "?"}:${lineNumber + 1}:${columnNumber + 1})`;
    });
    say(3, "Debugger.resume");
    resolve(`${frames.join("\n")}\n`);
  });
  return promise.finally(() => socket.close());
}
