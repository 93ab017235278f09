/**
 * What a program prints, where it is gigabytes in small pieces: taken out of a large pipe some hundred times a second, for a fifth
 * of the processor time that a stream of events takes.
 */
import { closeSync, constants, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { F_SETPIPE_SZ, libc, SCHED } from "./libc.ts";
import { runCommand } from "./command.ts";
import { sleep, systemClock } from "./clock.ts";
import { programFailure } from "./program-pipe.ts";

/** The most that a user may have without further rights (fs.pipe-max-size): the program seldom waits. */
const PIPE_BYTES = 1_024 ** 2;
const HELPER_MS = 30_000;
/** Where the machine's own programs are. */
const PATH = "/usr/bin:/bin";
/** Into a pipe the C library writes 4 KiB at a time, which costs a tenth of all; `stdbuf` makes it more (coreutils, by preloading). */
const PIPE_BUFFER = "-o1M";
/** Between two looks into an empty pipe: at first as long as some 500 MB/s need to fill it, then longer, while the program is silent, ms. */
const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 50;

export interface BulkRequest {
  readonly command: readonly [string, ...string[]];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ours alone, for the pipe and for what the program says of its troubles. */
  readonly folder: string;
  /** Size of each piece but the last. */
  readonly blockBytes: number;
  /** Ends the program. */
  readonly signal?: AbortSignal | undefined;
}

/** In two buffers by turns: each piece is gone when the one after the next is asked for. Throws at its end what the program said, unless it ended with 0. */
export async function* bulkOutputOf({
  command,
  env,
  folder,
  blockBytes,
  signal,
}: BulkRequest): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const saidPath = join(folder, "said");
  // Not a pipe: the program would wait for us to read it, while we wait for the other one.
  const said = openSync(saidPath, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  const { from, to } = await makePipe(join(folder, "pipe"));
  let child: Bun.Subprocess | undefined;
  try {
    const buffering = await largeWritesBy(Bun.which("stdbuf", { PATH }));
    child = asBatch(() =>
      Bun.spawn({ cmd: [...buffering, ...command], cwd: "/", env: { ...env }, stdio: ["ignore", to, said] }),
    );
    closeSync(to);
    yield* blocksOf(from, blockBytes, signal);
    const code = await child.exited;
    const failure = programFailure(command[0], code, child.signalCode, () => readFileSync(saidPath, "utf8"));
    if (failure !== undefined) throw failure;
  } finally {
    closeSync(from);
    closeSync(said);
    if (child === undefined) closeSync(to);
    child?.kill("SIGKILL");
    await child?.exited;
    rmSync(saidPath, { force: true });
  }
}

async function* blocksOf(
  fd: number,
  blockBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let block = new Uint8Array(blockBytes);
  let other = new Uint8Array(blockBytes);
  let filled = 0;
  for (let pauseMs = FIRST_PAUSE_MS; ;) {
    signal?.throwIfAborted();
    const got = readSome(fd, block, filled);
    if (got === "nothing yet") {
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait, in which the pipe fills.
      await sleep(systemClock, pauseMs, signal);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      continue;
    }
    pauseMs = FIRST_PAUSE_MS;
    filled += got;
    if (got > 0 && filled < block.length) continue;
    if (filled > 0) yield block.subarray(0, filled);
    if (got === 0) return;
    [block, other] = [other, block];
    filled = 0;
  }
}

/**
 * Whoever is started is a batch process: the server that feeds it 8 KiB at a time is not interrupted for each of them, and gives
 * more at once, for a twelfth of the processor time. Where that is forbidden it is a process like others.
 */
function asBatch<Started>(start: () => Started): Started {
  const c = libc();
  const isOurs = c?.scheduler() === SCHED.OTHER && c.setScheduler(SCHED.BATCH) === 0;
  try {
    return start();
  } finally {
    if (isOurs) c.setScheduler(SCHED.OTHER);
  }
}

/** Bytes that were read; 0 at the end. */
function readSome(fd: number, block: Uint8Array, from: number): number | "nothing yet" {
  try {
    return readSync(fd, block, from, block.length - from, null);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EAGAIN") return "nothing yet";
    throw cause;
  }
}

/** What comes before a command so that it writes much at once; nothing where the program cannot do that here. */
export async function largeWritesBy(stdbuf: string | null): Promise<readonly string[]> {
  if (stdbuf === null) return [];
  const tried = await runHelper(stdbuf, PIPE_BUFFER, "true");
  return tried.kind === "exited" && tried.code === 0 ? [stdbuf, PIPE_BUFFER] : [];
}

function runHelper(...command: [string, ...string[]]): ReturnType<typeof runCommand> {
  return runCommand({
    command,
    cwd: "/",
    env: { PATH },
    timeoutMs: HELPER_MS,
    clock: systemClock,
    maxOutputBytes: 1_024,
  });
}

/** Bun makes sockets where others make pipes, and those hand on each small piece by itself. */
async function makePipe(path: string): Promise<{ readonly from: number; readonly to: number }> {
  const made = await runHelper("mkfifo", "-m", "600", path);
  if (made.kind !== "exited" || made.code !== 0)
    throw new Error(`cannot make the pipe ${path}: ${made.kind === "exited" ? made.output.trim() : made.kind}`);
  // One end by itself opens at once only where it does not wait for the other.
  const from = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const to = openSync(path, constants.O_WRONLY);
    libc()?.fcntl(from, F_SETPIPE_SZ, PIPE_BYTES);
    return { from, to };
  } catch (cause) {
    closeSync(from);
    throw cause;
  } finally {
    rmSync(path);
  }
}
