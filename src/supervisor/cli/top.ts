/** `supervisor top`: the bots and the last events on one screen, drawn again each second. It asks the daemon, and changes nothing. */
import { join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import type { JournalEntry } from "../../core/journal-entry.ts";
import type { Status } from "../../core/status.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { FullScreen, hasScreen } from "../../platform/full-screen.ts";
import { afterKey, keysIn, topLines, type TopView } from "../../report/top-view.ts";
import { readJournal } from "../runtime/journal-reader.ts";
import { callDaemon, DaemonDownError, DaemonError, request } from "./client.ts";
import { followEvents } from "./follow-events.ts";
import { lastKnownStatus } from "./last-known.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Time between two drawings, two looks, and two tries to follow the events, ms. */
const TURN_MS = 1_000;
/** A look that takes longer is told: until then a busy daemon may just be slow, ms. */
const LATE_MS = 2_500;
/** More than the lines of any screen. */
const MAX_EVENTS = 500;

class NoScreenError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "without one: supervisor status --watch";
}

export const command: Verb = {
  name: "top",
  summary:
    "Shows bots and events live on the whole terminal. Keys: up and down or k and j choose a bot, Enter shows its probes, q ends; none of them changes anything.",
  configure: (cmd, io) => {
    withConfig(cmd).action((options: PlaceOptions) => top(options, io));
  },
};

async function top(options: PlaceOptions, io: CliIo): Promise<void> {
  if (!io.isTerminal || !hasScreen(io.env))
    throw new NoScreenError("cannot show a live view: standard input and output are not a terminal");
  const place = await findPlace(options, io);
  const code = await new LiveView(place, options, io).run();
  // A question to a daemon that stands still may be open for seconds; nobody waits for its answer any more.
  process.exit(code);
}

class LiveView {
  readonly #place: Place;
  readonly #options: PlaceOptions;
  readonly #colour: boolean;
  readonly #end = Promise.withResolvers<number>();
  readonly #over = new AbortController();
  #view: TopView = { status: undefined, trouble: undefined, events: [], chosen: undefined, detail: false };
  #seenMs = systemClock.monotonicMs();

  constructor(place: Place, options: PlaceOptions, { colour }: CliIo) {
    this.#place = place;
    this.#options = options;
    this.#colour = colour;
  }

  /** The exit code. Whatever happens, the terminal is as it was before. */
  async run(): Promise<number> {
    const screen = new FullScreen({
      typed: (text) => this.#type(text, screen),
      resized: () => this.#draw(screen),
      ended: (code) => this.#end.resolve(code),
    });
    try {
      this.#readPast();
      return await Promise.race([this.#end.promise, this.#look(screen), this.#drawEachTurn(screen), this.#follow()]);
    } finally {
      this.#over.abort();
      screen.close();
    }
  }

  #type(text: string, screen: FullScreen): void {
    for (const key of keysIn(text)) {
      if (key === "quit") return this.#end.resolve(EXIT.done);
      this.#view = afterKey(this.#view, key);
    }
    return this.#draw(screen);
  }

  #draw(screen: FullScreen): void {
    const silentMs = systemClock.monotonicMs() - this.#seenMs;
    const silent = `the supervisor has not answered for ${Math.floor(silentMs / 1_000)} s`;
    const trouble = this.#view.trouble ?? (silentMs > LATE_MS ? silent : undefined);
    screen.draw(
      topLines(
        { ...this.#view, trouble },
        {
          ...screen.size,
          colour: this.#colour,
          now: systemClock.wallTime(),
          propose: (line) => completeCommands(line, this.#options.config),
        },
      ),
    );
  }

  async #drawEachTurn(screen: FullScreen): Promise<never> {
    for (;;) {
      // Safe: one turn after the other.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(systemClock, TURN_MS);
      this.#draw(screen);
    }
  }

  async #look(screen: FullScreen): Promise<never> {
    let isFirst = true;
    for (;;) {
      // Safe: one look after the other, with a pause between.
      // oxlint-disable-next-line no-await-in-loop
      this.#view = { ...this.#view, ...(await this.#seen()) };
      this.#seenMs = systemClock.monotonicMs();
      if (isFirst) this.#draw(screen);
      isFirst = false;
      // Safe: as above.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(systemClock, TURN_MS);
    }
  }

  /** A daemon that goes, or stands still, is told; it may come back. */
  async #seen(): Promise<Pick<TopView, "status" | "trouble">> {
    try {
      // Safe: our own daemon made the answer; a daemon of another version is told by its version field.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const status = (await callDaemon(this.#place, "GET", "/v1/status")) as Status;
      return { status, trouble: undefined };
    } catch (error) {
      if (error instanceof DaemonDownError) {
        const last = await lastKnownStatus(this.#place);
        // The last known one says by itself that it is.
        if (last !== undefined) return { status: last, trouble: undefined };
      } else if (!(error instanceof DaemonError)) throw error;
      return { status: this.#view.status, trouble: error.message };
    }
  }

  async #follow(): Promise<never> {
    for (;;) {
      try {
        // All that it remembers: each daemon counts anew, so that no number of before says what is missing here.
        // Safe: one connection after the other.
        // oxlint-disable-next-line no-await-in-loop
        const response = await request(this.#place, "GET", "/v1/events", {
          headers: { "last-event-id": "0" },
          signal: this.#over.signal,
        });
        this.#readPast();
        // Safe: as above.
        // oxlint-disable-next-line no-await-in-loop
        await followEvents(response, (entry) => this.#hear([entry]));
      } catch {
        // What ails the daemon is told by the look.
      }
      // Safe: as above.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(systemClock, TURN_MS);
    }
  }

  /** Who may use the socket but not the files sees what the daemon remembers. */
  #readPast(): void {
    try {
      const folder = join(this.#place.dirs.stateDir, "journal");
      this.#hear(readJournal(folder, MAX_EVENTS, isForPeople).entries);
    } catch {
      // Not ours to read.
    }
  }

  #hear(heard: readonly JournalEntry[]): void {
    const known = new Set(this.#view.events.map(idOf));
    const fresh = heard.filter((entry) => isForPeople(entry) && !known.has(idOf(entry)));
    if (fresh.length > 0) this.#view = { ...this.#view, events: [...this.#view.events, ...fresh].slice(-MAX_EVENTS) };
  }
}

function isForPeople({ level }: JournalEntry): boolean {
  return level !== "debug";
}

function idOf({ seq, at }: JournalEntry): string {
  return `${seq} ${at}`;
}
