/** The program pgBackRest: how it is run, as whom, and what it says when it fails (its exit codes: src/build/error/error.yaml of its source). */
import { NotJudgedError } from "../core/not-judged.ts";
import { scratchUser } from "./postgres-scratch.ts";
import { switchUser } from "./user.ts";

const PATH = "/usr/bin:/bin:/usr/local/bin";
/** Errors of what is stored, not of the run: checksum, format, file missing in the repository, a backup that is not there. */
const JUDGING_CODES: readonly number[] = [26, 29, 75];
const MAX_WORDS = 8_192;
/** A hundred thousand backups and archives. */
const MAX_OUTPUT_BYTES = 64 * 1_024 ** 2;

export interface PgBackRestPlace {
  readonly stanza: string;
  readonly config?: string | undefined;
}

/** Its path. Throws what to install. */
function pgBackRestProgram(path = `${PATH}:${process.env["PATH"] ?? ""}`): string {
  const found = Bun.which("pgbackrest", { PATH: path });
  if (found === null) throw new NotJudgedError("pgbackrest is not installed; install pgbackrest (Debian, Ubuntu)");
  return found;
}

/** The command with what every run of ours says: repository, keys and passwords are in its configuration, never here. */
function pgBackRestCommand(
  { stanza, config }: PgBackRestPlace,
  words: readonly string[],
): readonly [string, ...string[]] {
  const configured = config === undefined ? [] : [`--config=${config}`];
  const quiet = ["--log-level-console=off", "--log-level-stderr=error", "--no-log-timestamp"];
  return [pgBackRestProgram(), `--stanza=${stanza}`, ...configured, ...quiet, ...words];
}

/**
 * Runs it to its end and returns what it prints. It reads the server's files and its own repository, so it runs as who runs
 * PostgreSQL when we are root. Throws its own words; a `NotJudgedError` unless they speak against what is stored.
 */
export async function runPgBackRest(
  place: PgBackRestPlace,
  words: readonly string[],
  fds: readonly number[] = [],
): Promise<string> {
  const command = pgBackRestCommand(place, words);
  const { prefix, spawnOptions } = switchUser(scratchUser());
  const child = Bun.spawn({
    cmd: [...prefix, ...command],
    cwd: "/",
    env: { PATH, LC_ALL: "C", HOME: "/" },
    ...spawnOptions,
    stdio: ["ignore", "pipe", "pipe", ...fds],
  });
  try {
    const [printed, said] = await Promise.all([
      textOf(child.stdout, MAX_OUTPUT_BYTES),
      textOf(child.stderr, MAX_WORDS),
    ]);
    const code = await child.exited;
    if (code === 0) return printed;
    const why = `pgbackrest ${words.at(-1) ?? ""} ended with ${code}: ${faultOf(said)}`;
    throw JUDGING_CODES.includes(code) ? new Error(why) : new NotJudgedError(why);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

/** The command by which a server on scratch fetches archived WAL; `%f` and `%p` are the server's. */
export function archiveGetCommand(place: PgBackRestPlace, dataFolder: string): string {
  const words = pgBackRestCommand(place, [`--pg1-path=${dataFolder}`]).map((word) =>
    quoted(word.replaceAll("%", "%%")),
  );
  return `${words.join(" ")} archive-get %f "%p"`;
}

function quoted(word: string): string {
  return /^[\w./=-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The first error, and what pgBackRest advises. */
function faultOf(said: string): string {
  const lines = said.split("\n").map((line) => line.trim());
  const at = lines.findIndex((line) => /\bERROR:/.test(line));
  const hint = lines.find((line) => line.startsWith("HINT:"));
  const fault = at === -1 ? (lines.find((line) => line !== "") ?? "without a word") : (lines[at] ?? "");
  return [fault.replace(/^.*?ERROR: /, ""), ...(hint === undefined ? [] : [hint.replace("HINT: ", "hint: ")])].join(
    "; ",
  );
}

async function textOf(stream: ReadableStream<Uint8Array>, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) if (text.length < maxBytes) text += decoder.decode(chunk, { stream: true });
  return text.slice(0, maxBytes);
}
