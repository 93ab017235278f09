/** A bot's output in a scratch folder, rotated by the real action. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rotateLog } from "../../src/actions/rotate-log.ts";
import { rotateJobSchema, type RotateJob, type RotateLine } from "../../src/core/rotate-job.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { readOutput } from "../../src/platform/output-stream.ts";
import type { OutputFiles } from "../../src/platform/output-view.ts";

/** A file system that cannot take bytes out of the front of a file. */
export const MEMORY_DISK = "/dev/shm";

export class OutputRig implements Disposable {
  readonly folder: string;
  readonly log: string;
  readonly files: OutputFiles;
  readonly losses: string[] = [];
  #lines = 0;

  constructor(disk = tmpdir()) {
    this.folder = mkdtempSync(join(disk, "output-"));
    this.log = join(this.folder, "bot.log");
    this.files = { log: this.log, index: join(this.folder, "output.json") };
  }

  job(more: Partial<RotateJob> = {}): RotateJob {
    const { log, index } = this.files;
    const lock = join(this.folder, "output.lock");
    return rotateJobSchema.parse({
      version: 1,
      log,
      index,
      lock,
      maxSize: 200_000,
      keep: 100,
      compress: "zstd",
      ...more,
    });
  }

  /** Appends numbered lines of about 100 bytes, `bytes` in all. */
  write(bytes: number): void {
    for (let left = bytes; left > 0; left -= 100) {
      appendFileSync(this.log, `${this.#lines} `.padEnd(99, ".") + "\n");
      this.#lines += 1;
    }
  }

  get lines(): number {
    return this.#lines;
  }

  async rotate(more: Partial<RotateJob> = {}) {
    const said: unknown[] = [];
    // How long it takes depends on the machine.
    const write = (line: RotateLine): void => void (line.kind === "progress" || said.push(line));
    const code = await rotateLog(this.job(more), { clock: systemClock, write });
    return { code, said };
  }

  /** The whole stream as `supervisor logs` reads it. */
  async text(from = 0): Promise<string> {
    const parts: Buffer[] = [];
    for await (const { chunk } of readOutput(this.files, { from, onLoss: (why) => void this.losses.push(why) }))
      parts.push(chunk);
    return Buffer.concat(parts).toString();
  }

  /** The numbers of the lines in `text`, in order. */
  static numbers(text: string): number[] {
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => Number.parseInt(line, 10));
  }

  index(): unknown {
    return JSON.parse(readFileSync(this.files.index, "utf8"));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What is wrong with numbered lines that should be 0, 1, … `count` − 1, each once; `undefined` when nothing is. */
export function flaw(text: string, count: number): string | undefined {
  const numbers = OutputRig.numbers(text);
  const wrong = numbers.findIndex((number, at) => number !== at);
  if (wrong >= 0) return `line ${wrong} is ${numbers[wrong]}`;
  return numbers.length === count ? undefined : `${numbers.length} lines instead of ${count}`;
}
