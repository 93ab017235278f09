/** What the daemon tells the service manager that started it, as systemd (sd_notify(3)); nothing where none asked for it. */
import { sendNotify } from "../../platform/notify-send.ts";

/** Time that systemd is to wait for the next sign of life of a daemon that is stopping or reloading, ms: many ticks. */
const NEXT_SIGN_MS = 15_000;

/** What the daemon is at. */
export interface Phase {
  readonly stopping: boolean;
  readonly reloading: boolean;
}

/** It does its work, for so many bots. */
export function readyText(bots: number): string {
  return `READY=1\nSTATUS=${bots} bots`;
}

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watches: boolean;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#socket = env["NOTIFY_SOCKET"];
    this.#watches = env["WATCHDOG_USEC"] !== undefined;
  }

  /** Lines `NAME=value`. */
  tell(text: string): void {
    if (this.#socket !== undefined) sendNotify(this.#socket, text);
  }

  /** Each second: a sign of life. While it stops, the watchdog is off and TimeoutStopSec= holds: it is moved for as long as this loop turns. */
  ping({ stopping, reloading }: Phase): void {
    if (stopping || reloading) this.tell(`EXTEND_TIMEOUT_USEC=${NEXT_SIGN_MS * 1_000}`);
    if (!stopping && this.#watches) this.tell("WATCHDOG=1");
  }
}
