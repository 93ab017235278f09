/** `supervisor events`: the journal as text or NDJSON; reading needs no daemon, following does. */
import { join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import type { JournalEntry } from "../../core/journal-entry.ts";
import { plainJson } from "../../core/plain-text.ts";
import { systemClock } from "../../platform/clock.ts";
import { eventLine } from "../../report/event-text.ts";
import { readJournal, type JournalReading } from "../runtime/journal-reader.ts";
import { callDaemon, DaemonDownError, request } from "./client.ts";
import { followEvents } from "./follow-events.ts";
import { parseLines, parseSince } from "./arguments.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { findPlace, ForbiddenFileError, readingFiles, withConfig, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly bot?: string;
  readonly since?: Date;
  readonly lines: number;
  readonly verbose?: boolean;
}

export const command: Verb = {
  name: "events",
  summary:
    "Shows what the supervisor saw, decided and did, with the reasons. Times are UTC, with the date where it is not today's.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("-f, --follow", "go on with what happens from now on")
      .option("--bot <name>", "only this bot")
      .option("--since <time>", "only from this time: RFC 3339, or an age such as 15m, 2h, 1d", parseSince)
      .option("-n, --lines <n>", "at most so many of the last entries", parseLines, 200)
      .option("-v, --verbose", "with the entries that only a replay needs")
      .option("--json", "one JSON object per line, as in the journal")
      .action((options: Options) => events(options, io));
  },
};

async function events(options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  if (options.bot !== undefined) await refuseUnknownBot(options.bot, place, options, io);
  const wanted = (entry: JournalEntry): boolean =>
    (options.bot === undefined || entry.bot === options.bot) &&
    (options.since === undefined || new Date(entry.at) >= options.since) &&
    (options.verbose === true || options.json === true || entry.level !== "debug");
  const today = systemClock.wallTime().toISOString().slice(0, 10);
  const show = (entry: JournalEntry): void =>
    io.out(options.json === true ? plainJson(entry) : eventLine(entry, { today }));
  // Following begins before the reading, so that nothing falls between the two; doubles are told by their number.
  const live = options.follow === true ? await request(place, "GET", "/v1/events") : undefined;
  const folder = join(place.dirs.stateDir, "journal");
  const { entries, damaged } = pastEvents(live !== undefined, io, () =>
    readingFiles("the events", folder, () => readJournal(folder, options.lines, wanted)),
  );
  for (const entry of entries) show(entry);
  if (damaged > 0) io.err(`damaged lines of the journal that were passed over: ${damaged}`);
  if (live === undefined) return;
  await followEvents(live, (entry) => {
    const known = entries.some((old) => old.seq === entry.seq && old.at === entry.at);
    if (!known && wanted(entry)) show(entry);
  });
  await explainEnd(place, io);
}

/** The stream has ended: with the daemon, or because this reader lagged too far behind it. */
async function explainEnd(place: Place, io: CliIo): Promise<void> {
  try {
    await callDaemon(place, "GET", "/v1/ping");
  } catch (error) {
    if (!(error instanceof DaemonDownError)) throw error;
    io.err("the supervisor has ended");
    return io.setExitCode(EXIT.notRunning);
  }
  io.err("the supervisor has cut off this reader, which was too slow; events --since shows what it has missed");
  return io.setExitCode(EXIT.failed);
}

/** Who may use the socket but not the files still follows what happens from now on. */
function pastEvents(following: boolean, io: CliIo, read: () => JournalReading): JournalReading {
  try {
    return read();
  } catch (error) {
    if (!following || !(error instanceof ForbiddenFileError)) throw error;
    io.err(`${error.message}; what happens from now on follows`);
    return { entries: [], damaged: 0 };
  }
}
