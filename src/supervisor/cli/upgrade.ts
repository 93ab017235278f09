/** `supervisor upgrade`: has the running daemon replaced by another binary in the same process, and waits until that one answers. */
import { resolve } from "node:path";
import type * as z from "zod";
import { EXIT } from "../../core/exit-code.ts";
import { upgradeAnswerSchema, upgradeStateSchema } from "../../core/upgrade.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { isForeignNamespace } from "../../platform/pid-namespace.ts";
import { isLive } from "../../platform/proc.ts";
import { callDaemon, DaemonDownError, DaemonError, DaemonSilentError } from "./client.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Longest wait for the new daemon, ms: it answers after some 50 ms, on a starved machine after seconds. */
const TAKEOVER_MS = 30_000;
const POLL_MS = 25;

type Answer = z.output<typeof upgradeAnswerSchema>;
type Taken = z.output<typeof upgradeStateSchema>;

interface Options extends PlaceOptions {
  readonly binary?: string;
  readonly dryRun?: boolean;
  readonly backup: boolean;
  readonly json?: boolean;
}

export const command: Verb = {
  name: "upgrade",
  summary:
    "Replaces the running daemon by a new binary, in the same process: every bot runs on. A binary that fails its self-check is refused.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--binary <path>", "the new binary (default: the path by which the daemon was started)")
      .option("--no-backup", "do not back up first what backups.targets of the config names")
      .option("--dry-run", "check the binary and the moment, and change nothing")
      .option("--json", "one JSON object")
      .action((options: Options) => upgrade(options, io));
  },
};

async function upgrade(options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const binary = options.binary === undefined ? {} : { binary: resolve(io.cwd, options.binary) };
  const dryRun = options.dryRun === true;
  if (!dryRun && options.backup) await backUpFirst(place, { ...binary, dryRun: true }, options, io);
  const answer = upgradeAnswerSchema.parse(await callDaemon(place, "POST", "/v1/upgrade", { ...binary, dryRun }));
  const done = dryRun ? undefined : await takenOver(place, answer);
  if (options.json === true) {
    const { from, to, pid } = answer;
    return io.out(JSON.stringify({ from, to: done?.version ?? to, binary: answer.binary, dryRun, pid }));
  }
  if (done === undefined)
    return io.out(`${answer.binary} is version ${answer.to} and could take over from ${answer.from}`);
  return io.out(`upgraded from ${answer.from} to ${done.version}, pid ${done.pid}; ${botsText(done.order)}`);
}

function botsText(order: Taken["order"]): string {
  if (typeof order !== "string") return "the bots run on";
  return `${order}: the bots with an emergency section are ended and closed, the others run on; see: supervisor status`;
}

/** Only for a binary that could take over. A config that cannot be read is no reason to keep an old version. */
async function backUpFirst(place: Place, question: object, { config }: Options, io: CliIo): Promise<void> {
  const check = async (): Promise<void> =>
    void upgradeAnswerSchema.parse(await callDaemon(place, "POST", "/v1/upgrade", question));
  const { backUpAll } = await import("./backup-before.ts");
  try {
    await backUpAll(config, { trigger: "pre-upgrade", deed: "upgrade", flag: "--no-backup", check }, io);
  } catch (error) {
    if (error instanceof Error && error.name === "ConfigError") io.err(`nothing is backed up first: ${error.message}`);
    else throw error;
  }
}

/** What the new daemon says of itself. Throws when the old one goes on, the new one dies, or nobody answers in time. */
async function takenOver(place: Place, { instance, pid, pidNamespace }: Answer): Promise<Taken> {
  const endMs = systemClock.monotonicMs() + TAKEOVER_MS;
  // In another PID namespace its number is a stranger's or nobody's here, and only the time tells.
  const seen = !isForeignNamespace(pidNamespace) && lives(pid);
  while (systemClock.monotonicMs() < endMs) {
    // Safe: a wait between two questions.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(systemClock, POLL_MS);
    try {
      // Safe: a wait between two questions.
      // oxlint-disable-next-line no-await-in-loop
      const state = upgradeStateSchema.parse(await callDaemon(place, "GET", "/v1/upgrade"));
      if (state.instance !== instance) return state;
      if (state.failure !== null) throw new DaemonError({ code: "refused", message: state.failure }, EXIT.failed);
    } catch (error) {
      // Between the two daemons nobody listens, and one that begins may be slow to answer.
      if (!(error instanceof DaemonDownError || error instanceof DaemonSilentError)) throw error;
      if (seen && !lives(pid)) throw lost("the new version ended at its start");
    }
  }
  throw lost(`the new version does not answer within ${TAKEOVER_MS / 1_000} s`);
}

function lost(why: string): DaemonError {
  return new DaemonError(
    {
      code: "noAnswer",
      message: `${why}; the bots live on, unwatched until a supervisor runs again`,
      hint: "a service manager starts it again by itself; else start it (supervisor run), with the old binary if the new one does not start: it adopts the bots",
    },
    EXIT.failed,
  );
}

/** Where /proc cannot be read it is taken for alive, and the deadline counts. */
function lives(pid: number): boolean {
  try {
    return isLive(pid);
  } catch {
    return true;
  }
}
