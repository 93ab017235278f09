/**
 * A command's text on standard output and standard error. It is written at once: the runtime's streams cost more than most
 * commands, and a reader that is slow may hold up a command, but not one that must never wait.
 */
import { EXIT } from "../../core/exit-code.ts";
import { systemClock } from "../../platform/clock.ts";
import type { PatientWriter } from "../../platform/patient-writer.ts";
import { quickIo } from "../../platform/quick-io.ts";
import { terminalColumns } from "../../platform/terminal.ts";

export class Output {
  /** Nobody reads any more (`| head`): what only shows something is done then. */
  endsWithReader = true;
  /** Text goes through the runtime's streams, which take it without a wait. */
  #streams = false;
  readonly #guarded = new Set<number>();
  readonly #patient = new Map<1 | 2, PatientWriter>();

  /** From here on nothing waits for a reader. */
  async neverWait(): Promise<void> {
    const { PatientWriter } = await import("../../platform/patient-writer.ts");
    for (const fd of [1, 2] as const) {
      const writer = PatientWriter.on(fd, systemClock);
      if (writer !== undefined) this.#patient.set(fd, writer);
      // Made now, before a bot may inherit them: made at the first word, the runtime leaves a pipe non-blocking.
      else this.#guard(fd, streamOf(fd));
    }
    this.#streams = this.#patient.size < 2;
  }

  /** Nothing that was written waits for the runtime's streams: an exit loses only what its reader did not take. */
  get isPatient(): boolean {
    return this.#patient.size === 2;
  }

  out(text: string): void {
    this.#write(1, `${text}\n`);
  }

  err(text: string): void {
    this.#write(2, `${text}\n`);
  }

  /** Whether standard output is a terminal; its stream is only made where nothing else can tell. */
  get isTerminal(): boolean {
    return quickIo()?.isTerminal(1) ?? process.stdout.isTTY;
  }

  /** As it is now: a terminal may be made wider while something follows. */
  get columns(): number | undefined {
    return this.isTerminal ? terminalColumns(1) : undefined;
  }

  #write(fd: 1 | 2, text: string): void {
    const patient = this.#patient.get(fd);
    if (patient !== undefined) return patient.write(text);
    if (this.#streams) return this.#stream(fd, text);
    const bytes = new TextEncoder().encode(text);
    let written = quickIo()?.write(fd, bytes) ?? 0;
    // What hinders it is told by the usual way alone, whose import costs more than most commands.
    if (written === bytes.length) return undefined;
    const { writeSync } = process.getBuiltinModule("node:fs");
    try {
      while (written < bytes.length) written += writeSync(fd, bytes, written);
      return undefined;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "EAGAIN") return this.#failed(fd, error);
      // Somebody who shares it has made it non-blocking: the stream waits for it, and keeps the order from here on.
      this.#streams = true;
      return this.#stream(fd, bytes.subarray(written));
    }
  }

  #stream(fd: 1 | 2, text: string | Uint8Array): void {
    const stream = streamOf(fd);
    this.#guard(fd, stream);
    stream.write(text);
  }

  #guard(fd: 1 | 2, stream: NodeJS.WriteStream): void {
    if (this.#guarded.has(fd)) return;
    this.#guarded.add(fd);
    stream.on("error", (error) => this.#failed(fd, error));
  }

  /** A reader that goes away ends what only shows something, silently; a deed goes on, and its exit code stays its own. */
  #failed(fd: 1 | 2, error: unknown): void {
    if (fd === 2 || !this.endsWithReader) return;
    if (readerLeft(error)) process.exit(EXIT.done);
    this.endsWithReader = false;
    this.err(cannotWrite(error));
    process.exit(EXIT.failed);
  }
}

/** Whether a failed write says no more than that nobody reads on. */
export function readerLeft(error: unknown): boolean {
  // A socket says ECONNRESET to who waits for room in it when its reader goes and leaves bytes unread (unix(7)).
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EPIPE" || code === "ECONNRESET";
}

export function cannotWrite(error: unknown): string {
  return `cannot write to standard output: ${error instanceof Error ? error.message : String(error)}`;
}

function streamOf(fd: 1 | 2): NodeJS.WriteStream {
  return fd === 1 ? process.stdout : process.stderr;
}
