/** What anybody of the same user can see of a daemon's workers while they run: command lines and environments, as `ps` and /proc show them. */
import { listPids, readEnvironText, readProc, readStat } from "../../src/platform/proc.ts";

/** Time between two looks, ms: workers live for some hundred, their programs for some ten. */
const LOOK_MS = 3;

export class WorkerSight implements AsyncDisposable {
  /** Everything seen, by command line. */
  readonly #seen = new Map<string, Set<string>>();
  readonly #workers = new Set<number>();
  readonly #binary: string;
  readonly #looking: Promise<void>;
  #ended = false;

  /** Looks at each worker of the binary, and at whatever it starts. */
  constructor(binary: string) {
    this.#binary = binary;
    this.#looking = this.#look();
  }

  /** Whether a process with the word in its command line was seen. */
  saw(word: string): boolean {
    return [...this.#seen.keys()].some((line) => line.includes(word));
  }

  /** Command lines and environments of all that was seen. */
  get texts(): readonly string[] {
    return [...this.#seen].flatMap(([line, environments]) => [line, ...environments]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await this.#looking;
  }

  async #look(): Promise<void> {
    while (!this.#ended) {
      for (const pid of listPids()) this.#lookAt(pid);
      await Bun.sleep(LOOK_MS);
    }
  }

  #lookAt(pid: number): void {
    const line = readProc(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ") ?? "";
    if (!this.#workers.has(pid)) {
      const own = line.startsWith(this.#binary) && line.includes("__action");
      if (!own && !this.#workers.has(readStat(pid)?.ppid ?? 0)) return;
      this.#workers.add(pid);
    }
    const environments = this.#seen.get(line) ?? new Set();
    environments.add(readEnvironText(pid) ?? "");
    this.#seen.set(line, environments);
  }
}
