/** A program at one end of a stream, or in its middle: what it was given counts only once it has ended with 0. */
import { switchUser, type User } from "./user.ts";

export interface PipeRequest {
  readonly command: readonly [string, ...string[]];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Handed on as descriptors from 3. */
  readonly fds?: readonly number[];
  readonly user?: User | undefined;
}

/** What a program said last of its troubles, bytes. */
const MAX_WORDS = 8_192;

/** What the program prints. Throws at its end what the program said, unless it ended with 0; killed when nobody reads on. */
export async function* outputOf(request: PipeRequest, input?: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const child = start(request, "pipe");
  const said = lastWords(child.stderr);
  const fed = feed(child.stdin, input);
  // Thrown below, once the program had its say.
  fed.catch(() => undefined);
  try {
    for await (const chunk of child.stdout) yield chunk;
    await settle(request, { child, said, fed });
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

/** Gives the program the stream on its standard input, and throws what it said unless it ended with 0. */
export async function feedProgram(request: PipeRequest, input?: AsyncIterable<Uint8Array>): Promise<void> {
  const child = start(request, "ignore");
  const said = lastWords(child.stderr);
  try {
    const fed = feed(child.stdin, input);
    fed.catch(() => undefined);
    await settle(request, { child, said, fed });
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

function start({ command, env, fds = [], user }: PipeRequest, stdout: "pipe" | "ignore") {
  const { prefix, spawnOptions } = switchUser(user);
  return Bun.spawn({
    cmd: [...prefix, ...command],
    // Not a folder that the other user may not enter.
    cwd: "/",
    env: { ...env },
    ...spawnOptions,
    stdio: ["pipe", stdout, "pipe", ...fds],
  }) as Bun.Subprocess<"pipe", "pipe", "pipe">;
}

interface Running {
  readonly child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly said: Promise<string>;
  readonly fed: Promise<void>;
}

/** A program that fails breaks the pipe it reads from: its own words come first. A stream that fails ends the program. */
async function settle({ command }: PipeRequest, { child, said, fed }: Running): Promise<void> {
  const source = await fed.then(
    () => undefined,
    (cause: unknown) => ({ cause }),
  );
  if (source !== undefined) {
    child.kill("SIGKILL");
    throw source.cause;
  }
  const code = await child.exited;
  const words = await said;
  const failure = programFailure(command[0], code, child.signalCode, () => words);
  if (failure !== undefined) throw failure;
}

/** `undefined` when it ended with 0. */
export function programFailure(
  program: string,
  code: number,
  signal: number | string | null,
  said: () => string,
): Error | undefined {
  if (code === 0 && signal === null) return undefined;
  const words = lastLines(said());
  const how = signal === null ? `with ${code}` : `by ${signal}`;
  return new Error(`${program.replace(/^.*\//, "")} ended ${how}${words === "" ? "" : `: ${words}`}`);
}

/** Throws what the stream throws. A program that reads no further is no error here: its code says why. */
async function feed(
  sink: { write(chunk: Uint8Array): unknown; flush(): unknown; end(): unknown },
  input: AsyncIterable<Uint8Array> | undefined,
): Promise<void> {
  let open = true;
  const quietly = async (deed: () => unknown): Promise<void> => {
    try {
      await deed();
    } catch {
      open = false;
    }
  };
  if (input !== undefined)
    for await (const chunk of input) {
      // Read to its end all the same: what proves a stream whole comes last.
      if (open)
        await quietly(async () => {
          sink.write(chunk);
          await sink.flush();
        });
    }
  await quietly(() => sink.end());
}

async function lastWords(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-MAX_WORDS);
  return text;
}

/** Its last lines that say something, in one. */
export function lastLines(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line !== "")
    .slice(-3)
    .join("; ");
}
