/** One session of psql, kept open: statements go in, rows come out as JSON. It ends at the first error, and its transaction with it. */
import { randomBytes } from "node:crypto";
import { lastLines } from "./program-pipe.ts";
import { switchUser, type User } from "./user.ts";

export interface PsqlRequest {
  readonly program: string;
  /** As `connectionEnv` makes it. */
  readonly env: Readonly<Record<string, string>>;
  readonly fds?: readonly number[];
  readonly user?: User | undefined;
}

/** Text of errors that is kept. */
const MAX_WORDS = 8_192;
/** One row is a name or a definition. */
const MAX_ROW_BYTES = 16 * 1_024 ** 2;

export class PsqlSession {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #said: Promise<string>;
  readonly #lines: AsyncGenerator<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  private constructor({ program, env, fds = [], user }: PsqlRequest) {
    const { prefix, spawnOptions } = switchUser(user);
    const options = ["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"];
    this.#child = Bun.spawn({
      cmd: [...prefix, program, ...options],
      cwd: "/",
      env: { ...env },
      ...spawnOptions,
      stdio: ["pipe", "pipe", "pipe", ...fds],
    });
    this.#said = collect(this.#child.stderr);
    this.#lines = printed(this.#child.stdout);
  }

  /** Throws what psql or the server says when there is no connection. */
  static async open(request: PsqlRequest): Promise<PsqlSession> {
    const session = new PsqlSession(request);
    try {
      await session.run("SET client_min_messages = warning");
      return session;
    } catch (cause) {
      await session.close();
      throw cause;
    }
  }

  /** Runs statements whose rows nobody wants. Throws the server's error; the session is over then. */
  async run(sql: string): Promise<void> {
    await this.#exchange(`${sql};`);
  }

  /** The rows of one query. Safe for the caller to name their shape: it wrote the query. */
  async rows<Row>(query: string): Promise<readonly Row[]> {
    const lines = await this.#exchange(`SELECT pg_catalog.row_to_json(q) FROM (${query}) q;`);
    // Safe: the caller wrote the query, whose columns are the row's.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return lines.map((line) => JSON.parse(line) as Row);
  }

  /** Runs a script as it comes. Throws what the stream throws, with the session ended, or the server's error. */
  async script(input: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of input) if (!(await this.#send(chunk))) break;
    await this.#exchange("");
  }

  /** Ends the session, whatever it does. */
  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  /** False when psql is gone. */
  async #send(chunk: Uint8Array | string): Promise<boolean> {
    try {
      void this.#child.stdin.write(chunk);
      await this.#child.stdin.flush();
      return true;
    } catch {
      return false;
    }
  }

  /** Lines that were printed until psql came to the mark behind the statements. */
  async #exchange(sql: string): Promise<readonly string[]> {
    const mark = randomBytes(12).toString("hex");
    await this.#send(`${sql}\n\\echo ${mark}\n`);
    const lines: string[] = [];
    for (;;) {
      const line = await this.#line();
      if (line === undefined) throw new Error(await this.#lastWords());
      if (line === mark) return lines;
      lines.push(line);
    }
  }

  /** `undefined` when psql is gone. */
  async #line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      if (this.#text.length > MAX_ROW_BYTES) return undefined;
      const { value, done } = await this.#lines.next();
      if (done === true) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  async #lastWords(): Promise<string> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    const words = lastLines(await this.#said).replace(/^psql(?::<stdin>)?(?::\d+)?:\s*/, "");
    return words === "" ? "psql ended without a word" : words;
  }
}

/** A name as SQL takes it. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as SQL takes it, whatever standard_conforming_strings says. */
export function quoteText(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`;
  return text.includes("\\") ? ` E${quoted}` : quoted;
}

async function* printed(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) yield chunk;
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-MAX_WORDS);
  return text;
}
