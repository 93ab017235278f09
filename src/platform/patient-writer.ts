/**
 * Text for a descriptor that must never make us wait: what its reader does not take at once is kept and offered again. The
 * runtime's own streams do the same for 3 ms and 2 MiB more, which is a tenth of the daemon's start.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { ERRNO, libc } from "./libc.ts";

/** Time between two offers, ms. */
const RETRY_MS = 50;
/** Most bytes that are kept; the journal holds what is dropped beyond them. */
const MAX_KEPT_BYTES = 1_048_576;
/** MSG_DONTWAIT and MSG_NOSIGNAL of send(2). */
const WITHOUT_WAIT = 0x40 | 0x4000;

/** Takes some of the bytes and returns how many, 0 when it would have to wait. Throws when they cannot be written. */
type Offer = (bytes: Uint8Array) => number;

export class PatientWriter {
  readonly #offer: Offer;
  readonly #clock: Clock;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #dropped = 0;

  private constructor(offer: Offer, clock: Clock) {
    this.#offer = offer;
    this.#clock = clock;
  }

  /** `undefined` for a descriptor that cannot be written without a wait by means of ours. */
  static on(fd: number, clock: Clock): PatientWriter | undefined {
    const offer = offerOf(fd);
    return offer === undefined ? undefined : new PatientWriter(offer, clock);
  }

  /** Never throws and never waits. */
  write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    if (this.#keptBytes > 0) return this.#keep(bytes);
    const taken = this.#try(bytes);
    if (taken < bytes.length) this.#keep(bytes.subarray(taken));
  }

  #keep(bytes: Uint8Array): void {
    if (this.#keptBytes + bytes.length > MAX_KEPT_BYTES) {
      this.#dropped += 1;
      return;
    }
    if (this.#keptBytes === 0) this.#clock.after(RETRY_MS, () => this.#again());
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  #again(): void {
    let first = this.#kept[0];
    while (first !== undefined) {
      const taken = this.#try(first);
      this.#keptBytes -= taken;
      if (taken < first.length) {
        this.#kept[0] = first.subarray(taken);
        this.#clock.after(RETRY_MS, () => this.#again());
        return;
      }
      this.#kept.shift();
      first = this.#kept[0];
    }
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.write(`${dropped} lines were not shown: nobody read them; see: supervisor events\n`);
  }

  #try(bytes: Uint8Array): number {
    let taken = 0;
    try {
      while (taken < bytes.length) {
        const more = this.#offer(bytes.subarray(taken));
        if (more === 0) break;
        taken += more;
      }
      return taken;
    } catch {
      // Nobody reads any more, or the disk is full: no reason to end, and the next text may find it better.
      return bytes.length;
    }
  }
}

function offerOf(fd: number): Offer | undefined {
  try {
    const stat = fstatSync(fd);
    if (stat.isSocket()) return toSocket(fd);
    // Its own description of the same pipe or terminal: O_NONBLOCK on ours would be everybody's who shares it (open(2)).
    if (stat.isFIFO() || stat.isCharacterDevice()) return toFile(openSync(`/proc/self/fd/${fd}`, WRITE_AT_ONCE));
    return stat.isFile() ? toFile(fd) : undefined;
  } catch {
    return undefined;
  }
}

const WRITE_AT_ONCE = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

function toFile(fd: number): Offer {
  return (bytes) => {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
      throw error;
    }
  };
}

function toSocket(fd: number): Offer | undefined {
  const c = libc();
  if (c === undefined) return undefined;
  return (bytes) => {
    const taken = c.sendto(fd, bytes, WITHOUT_WAIT, undefined);
    if (taken >= 0) return taken;
    const errno = c.errno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
    throw new Error(`cannot write to descriptor ${fd}: error ${errno}`);
  };
}
