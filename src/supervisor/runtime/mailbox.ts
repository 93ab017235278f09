/**
 * What one generation of a bot says of itself, by notify datagram or by HTTP: credentials are checked, life signs are
 * noted, and what decides becomes an event. The protocol is systemd's, sd_notify(3).
 */
import { EXTEND_LIMIT_FACTOR } from "../../core/lifecycle-moves.ts";
import type { NotifyMessage } from "../../core/notify.ts";
import { noLifeSigns, noteHeartbeat, noteProgress, type LifeSigns } from "../../core/progress.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Input } from "./loop.ts";

/** Longest STATUS text kept, characters. */
const STATUS_CHARS = 256;

export interface BotFacts {
  readonly signs: LifeSigns;
  readonly heartbeatAt: Date | undefined;
  /** Monotonic ms of the same; that of `signs` may lie ahead, by an extension. */
  readonly beatAtMs: number | undefined;
  readonly status: string | undefined;
  /** `WATCHDOG_USEC` in ms: the bot's own period; 0 switches the watch off. */
  readonly watchdogMs: number | undefined;
  readonly triggered: boolean;
  /** Orders that the bot says are under way. */
  readonly inFlight: number | undefined;
  readonly exposure: number | undefined;
  readonly errno: number | undefined;
}

const noFacts: BotFacts = {
  signs: noLifeSigns,
  heartbeatAt: undefined,
  beatAtMs: undefined,
  status: undefined,
  watchdogMs: undefined,
  triggered: false,
  inFlight: undefined,
  exposure: undefined,
  errno: undefined,
};

export interface MailboxDeps {
  readonly clock: Clock;
  readonly generation: number;
  /** `WATCHDOG_USEC` that it has said before, ms. */
  readonly watchdogMs?: number | undefined;
  /** `READY=1` makes the bot ready only where the config says `ready: notify`. */
  readonly readyByNotify: boolean;
  /** READY=1 may have come while no daemon listened: a sign of life then says as much. */
  readonly readyMayBeLost: boolean;
  /** Timeout of the heartbeat probe as configured, ms; `EXTEND_TIMEOUT_USEC` moves its deadline too. */
  readonly heartbeatTimeoutMs: () => number | undefined;
  readonly post: (input: Input) => void;
  /** What a probe waits for has changed: the first sign of its kind has come, or the deadline is another. */
  readonly onNews: (kind: "heartbeat" | "progress") => void;
}

/** What a heartbeat over HTTP may carry beside itself. */
export interface HeartbeatBody {
  readonly status?: string | undefined;
  readonly progress?: string | number | undefined;
  readonly inFlight?: number | undefined;
  readonly exposure?: number | undefined;
}

export class Mailbox {
  readonly #deps: MailboxDeps;
  #facts: BotFacts;
  #received = 0;
  #readySupposed = false;

  constructor(deps: MailboxDeps) {
    this.#deps = deps;
    this.#facts = { ...noFacts, watchdogMs: deps.watchdogMs };
  }

  get facts(): BotFacts {
    return this.#facts;
  }

  /** Messages taken since the start of the generation. */
  get received(): number {
    return this.#received;
  }

  heartbeat(body: HeartbeatBody): void {
    this.#received += 1;
    this.#beat();
    if (body.progress !== undefined) this.#progress(String(body.progress));
    this.#set({
      ...(body.status === undefined ? {} : { status: body.status.slice(0, STATUS_CHARS) }),
      ...(body.inFlight === undefined ? {} : { inFlight: body.inFlight }),
      ...(body.exposure === undefined ? {} : { exposure: body.exposure }),
    });
  }

  /** One statement of a datagram; the sender has been checked. */
  take(message: NotifyMessage): void {
    this.#received += 1;
    const { generation, post } = this.#deps;
    switch (message.kind) {
      case "watchdog":
        return this.#beat();
      case "watchdogTrigger":
        return this.#trigger();
      case "watchdogPeriod":
        this.#beat();
        this.#set({ watchdogMs: message.periodMs });
        return this.#deps.onNews("heartbeat");
      case "progress":
        return this.#progress(message.value);
      case "ready":
        if (this.#deps.readyByNotify) post({ kind: "ready", generation });
        return undefined;
      case "stopping":
        return post({ kind: "leaving", generation });
      case "extendTimeout":
        return this.#extend(message.extendMs);
      case "restartReset":
        return post({ kind: "resetBackoff", generation });
      case "status":
        return this.#set({ status: message.text });
      case "inFlight":
        return this.#set({ inFlight: message.count });
      case "exposure":
        return this.#set({ exposure: message.amount });
      case "errno":
        return this.#set({ errno: message.errno });
      // Recorded nowhere and acted on never: the main process is the one we started, and descriptors are not kept.
      case "mainPid":
      case "exitStatus":
      case "reloading":
      case "barrier":
      case "notifyAccess":
      case "fdStore":
      case "ignored":
        return undefined;
    }
  }

  #trigger(): void {
    this.#set({ triggered: true });
    const detail = "the bot asked to be replaced (WATCHDOG=trigger)";
    this.#deps.post({
      kind: "failing",
      generation: this.#deps.generation,
      cause: "heartbeat",
      detail,
      action: "restart",
    });
  }

  #extend(extendMs: number): void {
    const { generation, clock, post } = this.#deps;
    const configuredMs = this.#deps.heartbeatTimeoutMs();
    if (configuredMs !== undefined) {
      const boundedMs = Math.min(extendMs, configuredMs * EXTEND_LIMIT_FACTOR);
      // The watchdog's deadline becomes now + extendMs, which is a heartbeat of that moment less the timeout that the bot may have asked for.
      const asIfAtMs = clock.monotonicMs() + boundedMs - (this.#facts.watchdogMs ?? configuredMs);
      this.#set({ signs: noteHeartbeat(this.#facts.signs, asIfAtMs) });
    }
    post({ kind: "extend", generation, extendMs });
  }

  #beat(): void {
    const { clock, onNews } = this.#deps;
    const first = this.#facts.signs.heartbeatAtMs === undefined;
    const beatAtMs = clock.monotonicMs();
    this.#set({ signs: noteHeartbeat(this.#facts.signs, beatAtMs), heartbeatAt: clock.wallTime(), beatAtMs });
    this.#noteSign();
    if (first) onNews("heartbeat");
  }

  #progress(value: string): void {
    const { clock, onNews } = this.#deps;
    const first = this.#facts.signs.progressAtMs === undefined;
    this.#set({ signs: noteProgress(this.#facts.signs, value, clock.monotonicMs()) });
    this.#noteSign();
    if (first) onNews("progress");
  }

  /** A bot that beats or progresses has got through its start. */
  #noteSign(): void {
    const { generation, post, readyMayBeLost } = this.#deps;
    if (!readyMayBeLost || this.#readySupposed) return;
    this.#readySupposed = true;
    post({ kind: "ready", generation });
  }

  #set(change: Partial<BotFacts>): void {
    this.#facts = { ...this.#facts, ...change };
  }
}
