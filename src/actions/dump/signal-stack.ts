/** The stack that a hung program writes to its error output when a signal asks for it: Python's faulthandler on SIGABRT, Go and Java on SIGQUIT. */
import { closeSync, openSync, readlinkSync, readSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { ProgramFacts } from "../../core/stack-choice.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { readOutput } from "../../platform/output-stream.ts";
import { viewOutput, type OutputFiles } from "../../platform/output-view.ts";
import { libc } from "../../platform/libc.ts";
import { busiestThread, caughtSignals, isLive, readStat } from "../../platform/proc.ts";

/** Time for all of it, ms; it has been read as a whole when it has not grown for QUIET_MS. */
const DEADLINE_MS = 1_400;
const QUIET_MS = 200;
const POLL_MS = 20;
const MAX_BYTES = 262_144;
/** How the three of them begin. */
const BEGINNING = /Fatal Python error|^SIGQUIT: quit$|^(?:[-\d :]+\n)?Full thread dump /m;
/** Where the mark of Go's linker is: the first notes of the file (`.note.go.buildid`). */
const NOTES_BYTES = 4_096;
/** asm-generic/signal.h */
const SIGQUIT = 3;
const GO_NOTE = "\u0004\0\0\0Go\0\0";

/** What decides how a process is asked; its pid must be known to be its own. */
export function programFacts(pid: number, more: Pick<ProgramFacts, "hung" | "heard">): ProgramFacts {
  const caught = caughtSignals(pid) ?? new Set<number>();
  return { program: programOf(pid), caught, state: readStat(pid)?.state ?? "", ...more };
}

function programOf(pid: number): ProgramFacts["program"] {
  try {
    const name = basename(readlinkSync(`/proc/${pid}/exe`));
    if (name === "node" || name === "java") return name;
    if (/^python[\d.]*$/.test(name)) return "python";
    return firstBytes(`/proc/${pid}/exe`).includes(GO_NOTE) ? "go" : "other";
  } catch {
    return "other";
  }
}

function firstBytes(path: string): string {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(NOTES_BYTES);
    return bytes.toString("latin1", 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}

/**
 * Sends the signal and returns what the process said after it. Most programs end of it. Rejects when it says nothing, and
 * before the signal when a core of it could hold its memory.
 */
export async function stackBySignal(
  pid: number,
  startTicks: number,
  signal: "SIGABRT" | "SIGQUIT",
  output: OutputFiles,
): Promise<string> {
  // No memory in a core, whatever limits and core_pattern say: it would hold the bot's keys (core(5)).
  writeFileSync(`/proc/${pid}/coredump_filter`, "0");
  const from = viewOutput(output).end;
  if (!isLive(pid, startTicks)) throw new Error("it has ended meanwhile");
  send(pid, signal);
  const endMs = systemClock.monotonicMs() + DEADLINE_MS;
  let end = from;
  let grownMs = systemClock.monotonicMs();
  for (let now = grownMs; now < endMs; now = systemClock.monotonicMs()) {
    // Looked at before the output: what a process has said before its end is then in it.
    const ended = !isLive(pid, startTicks);
    const next = viewOutput(output).end;
    if (next > end) grownMs = now;
    end = next;
    if (ended || (end > from && now - grownMs >= QUIET_MS)) break;
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(systemClock, POLL_MS);
  }
  const text = await textBetween(output, from, Math.min(end, from + MAX_BYTES));
  if (text === "") throw new Error(`it said nothing after ${signal}`);
  return text;
}

/**
 * Go prints the stack of a goroutine that computes only where the signal interrupts it, which the kernel may do to any thread
 * ("goroutine running on other thread; stack unavailable"): so the thread that computes is signalled. Java answers on a thread of
 * its own, to which the kernel brings the signal.
 */
function send(pid: number, signal: "SIGABRT" | "SIGQUIT"): void {
  const thread = signal === "SIGQUIT" && programOf(pid) === "go" ? busiestThread(pid, SIGQUIT) : undefined;
  if (thread === undefined || libc()?.signalThread(pid, thread, SIGQUIT) !== 0) process.kill(pid, signal);
}

async function textBetween(output: OutputFiles, from: number, to: number): Promise<string> {
  const chunks: Buffer[] = [];
  if (to > from)
    for await (const { chunk } of readOutput(output, { from, to, onLoss: () => undefined })) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  // What the bot's threads said in between comes first.
  return text.slice(Math.max(0, text.search(BEGINNING)));
}
