/** `supervisor status [BOT]`: the state now, or the last known one from disk when no daemon answers. */
import { EXIT } from "../../core/exit-code.ts";
import { plainJson } from "../../core/plain-text.ts";
import { statusExitCode } from "../../core/status-exit.ts";
import type { Status } from "../../core/status.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { statusTable } from "../../report/status-table.ts";
import { callDaemon, DaemonDownError, DaemonError } from "./client.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Time between two looks of `--watch`, ms. */
const WATCH_MS = 1_000;

/** That of the machine itself has a fixed number (PROC_PID_INIT_INO of linux/proc_ns.h). */
const HOST_NAMESPACE = "pid:[4026531836]";
const FOREIGN_PIDS =
  "these pids are those of the supervisor's own PID namespace, as of a container; here they name other processes or none";

interface Options extends PlaceOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
}

export const command: Verb = {
  name: "status",
  summary:
    "Shows the supervisor and its bots. Exit code: 0 all that should run runs and is healthy, 1 degraded, 3 the daemon is not running, 4 a bot is in emergency, locked, stuck or halted.",
  runPlain: ({ word, options }, io) => showStatus(word, options, io),
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("[bot]", "only this bot, with its probes")
      .option("--json", "one JSON object; its shape: supervisor config schema --of status")
      .option("-w, --watch", "show it again each second until interrupted")
      .action((bot: string | undefined, options: Options) => showStatus(bot, options, io));
  },
};

async function showStatus(bot: string | undefined, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  do {
    // Safe: one look after the other, with a pause between.
    // oxlint-disable-next-line no-await-in-loop
    const seen = await look(place, bot);
    if (options.watch === true && io.isTerminal) io.out("\u001B[2J\u001B[H");
    // Safe: as above.
    // oxlint-disable-next-line no-await-in-loop
    await show(seen, bot, options, io);
    // Safe: as above.
    // oxlint-disable-next-line no-await-in-loop
    if (options.watch === true) await sleep(systemClock, WATCH_MS);
  } while (options.watch === true);
}

type Seen =
  | { readonly kind: "live" | "stale"; readonly status: Status }
  | { readonly kind: "none"; readonly message: string; readonly hint: string };

async function look(place: Place, bot: string | undefined): Promise<Seen> {
  try {
    // Safe: our own daemon made the answer; a daemon of another version is told by its version field.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const status = (await callDaemon(place, "GET", "/v1/status")) as Status;
    return { kind: "live", status: await only(status, bot) };
  } catch (error) {
    if (!(error instanceof DaemonDownError)) throw error;
    // Only here: what reads files costs each look at a daemon that answers its start.
    const { lastKnownStatus } = await import("./last-known.ts");
    const last = await lastKnownStatus(place);
    if (last === undefined) return { kind: "none", message: error.message, hint: error.hint };
    return { kind: "stale", status: await only(last, bot) };
  }
}

async function only(status: Status, bot: string | undefined): Promise<Status> {
  if (bot === undefined) return status;
  const bots = status.bots.filter(({ name }) => name === bot);
  const { drill: _drill, ...rest } = status;
  if (bots.length > 0) return { ...rest, bots, backups: [] };
  const { missing = null } = status.supervisor;
  // It names each with its reason behind it.
  if (missing?.includes(` ${bot} (`) === true)
    throw new DaemonError({ code: "missing", message: `cannot show ${bot}: ${missing}` }, EXIT.failed);
  const { noSuchBot } = await import("./known-bots.ts");
  throw noSuchBot(
    bot,
    status.bots.map(({ name }) => name),
  );
}

async function show(seen: Seen, bot: string | undefined, options: Options, io: CliIo): Promise<void> {
  if (seen.kind === "none") {
    io.err(seen.message);
    io.err(`hint: ${seen.hint}`);
    io.setExitCode(EXIT.notRunning);
    return;
  }
  const { colour, columns } = io;
  if (options.json === true) io.out(plainJson(seen.status));
  else {
    const table = statusTable(seen.status, { colour, columns, detail: bot !== undefined, now: systemClock.wallTime() });
    io.out(completeCommands(table, options.config));
  }
  const { pidNamespace } = seen.status.supervisor;
  if (pidNamespace !== undefined && pidNamespace !== HOST_NAMESPACE) {
    // Only here: what reads /proc costs each look at a daemon of no container its start.
    const { isForeignNamespace } = await import("../../platform/pid-namespace.ts");
    if (isForeignNamespace(pidNamespace)) io.err(FOREIGN_PIDS);
  }
  io.setExitCode(seen.kind === "stale" ? EXIT.notRunning : statusExitCode(seen.status));
}
