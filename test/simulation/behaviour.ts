/** How a simulated bot behaves: it gets ready, beats, works, hangs, forks, crashes, and goes when it is asked, or does not. */
import type { NotifyMessage } from "../../src/core/notify.ts";
import type { Dice } from "./dice.ts";
import { UNKILLABLE_MS, type End, type Machine, type Process } from "./machine.ts";

export interface Character {
  /** `undefined`: it never says that it is ready. */
  readonly readyAfterMs: number | undefined;
  readonly beatEveryMs: number;
  /** From here on it is alive and does nothing. */
  readonly hangsAfterMs: number;
  /** From here on its port does not answer well. */
  readonly sickAfterMs: number;
  readonly ends: (End & { readonly afterMs: number; readonly announced: boolean }) | undefined;
  /** Time from the stop signal to its end, ms; `undefined`: it is deaf. */
  readonly stopMs: number | undefined;
  /** Children that outlive it. */
  readonly children: number;
  readonly forksOn: boolean;
  readonly unkillable: boolean;
  /** It asks for more time, for the backoff to be reset, or to be replaced. */
  readonly asks: readonly ("extend" | "reset" | "trigger")[];
}

const NEVER_MS = Number.POSITIVE_INFINITY;

export const exemplary: Character = {
  readyAfterMs: 200,
  beatEveryMs: 700,
  hangsAfterMs: NEVER_MS,
  sickAfterMs: NEVER_MS,
  ends: undefined,
  stopMs: 50,
  children: 0,
  forksOn: false,
  unkillable: false,
  asks: [],
};

export function drawCharacter(dice: Dice, unkillable: boolean): Character {
  const crashes = dice.chance(0.6);
  const lifeMs = dice.chance(0.4) ? dice.between(0, 500) : dice.wait(15_000);
  return {
    readyAfterMs: dice.chance(0.9) ? dice.between(0, 3_000) : undefined,
    beatEveryMs: dice.between(300, 1_500),
    hangsAfterMs: dice.chance(0.15) ? dice.wait(10_000) : NEVER_MS,
    sickAfterMs: dice.chance(0.2) ? dice.wait(10_000) : NEVER_MS,
    ends: crashes ? { ...drawEnd(dice), afterMs: lifeMs, announced: dice.chance(0.2) } : undefined,
    stopMs: dice.chance(0.8) ? dice.between(0, 4_000) : undefined,
    children: dice.chance(0.25) ? dice.between(1, 3) : 0,
    forksOn: dice.chance(0.1),
    unkillable: unkillable && dice.chance(0.05),
    asks: (["extend", "reset", "trigger"] as const).filter(() => dice.chance(0.1)),
  };
}

function drawEnd(dice: Dice): End {
  if (dice.chance(0.3)) return { code: null, signal: dice.pick(["SIGKILL", "SIGSEGV"]), oom: dice.chance(0.3) };
  return { code: dice.pick([0, 1, 1, 1, 1, 2, 78]), signal: null, oom: false };
}

export type Say = (process: Process, message: NotifyMessage) => void;

/** One living main process. */
export class Behaviour {
  readonly #machine: Machine;
  readonly #dice: Dice;
  readonly #process: Process;
  readonly #character: Character;
  readonly #say: Say;
  readonly #bornMs: number;

  constructor(machine: Machine, dice: Dice, process: Process, character: Character, say: Say) {
    this.#machine = machine;
    this.#dice = dice;
    this.#process = process;
    this.#character = character;
    this.#say = say;
    this.#bornMs = machine.time.nowMs;
    const { readyAfterMs, ends, children, forksOn, unkillable, asks } = character;
    process.onSignal = () => this.#stop();
    if (unkillable) process.unkillableUntilMs = machine.time.nowMs + dice.between(0, UNKILLABLE_MS);
    if (readyAfterMs !== undefined) this.#in(readyAfterMs, () => this.#speak({ kind: "ready" }));
    this.#in(character.beatEveryMs, () => this.#beat(1));
    for (let i = 0; i < children; i += 1) this.#in(dice.between(0, 2_000), () => this.#fork(forksOn));
    for (const ask of asks) this.#in(dice.wait(5_000), () => this.#ask(ask));
    if (ends !== undefined) this.#in(ends.afterMs, () => this.#end());
  }

  get hangs(): boolean {
    return this.#ageMs >= this.#character.hangsAfterMs;
  }

  get sick(): boolean {
    return this.#ageMs >= this.#character.sickAfterMs;
  }

  get #ageMs(): number {
    return this.#machine.time.nowMs - this.#bornMs;
  }

  #in(delayMs: number, deed: () => void): void {
    this.#machine.time.in(delayMs, this.#machine.owner, () => {
      if (this.#process.alive && !this.#process.dying) deed();
    });
  }

  #speak(message: NotifyMessage): void {
    if (!this.hangs) this.#say(this.#process, message);
  }

  #beat(count: number): void {
    this.#speak({ kind: "watchdog" });
    this.#speak({ kind: "progress", value: String(count) });
    this.#in(this.#character.beatEveryMs, () => this.#beat(count + 1));
  }

  #ask(what: Character["asks"][number]): void {
    if (what === "trigger") return this.#speak({ kind: "watchdogTrigger" });
    if (what === "reset") this.#speak({ kind: "restartReset" });
    else this.#speak({ kind: "extendTimeout", extendMs: this.#dice.between(0, 20_000) });
    return this.#in(this.#dice.wait(8_000), () => this.#ask(what));
  }

  #fork(forksOn: boolean): void {
    const { account, environ, invocationId } = this.#process;
    const child = this.#machine.fork({ account, environ, invocationId, main: false });
    child.unkillableUntilMs = this.#process.unkillableUntilMs;
    if (forksOn) this.#in(this.#dice.wait(3_000), () => this.#fork(forksOn));
    // A child may also end by itself, long after its parent.
    this.#machine.time.in(this.#dice.wait(60_000), this.#machine.owner, () =>
      this.#machine.end(child, { code: 0, signal: null, oom: false }),
    );
  }

  #end(): void {
    const { ends } = this.#character;
    if (ends === undefined || this.hangs) return;
    if (ends.announced) this.#speak({ kind: "stopping" });
    this.#in(ends.announced ? this.#dice.between(0, 3_000) : 0, () => this.#machine.end(this.#process, ends));
  }

  #stop(): void {
    const { stopMs } = this.#character;
    if (stopMs === undefined || this.hangs) return;
    this.#in(stopMs, () => this.#machine.end(this.#process, { code: 0, signal: null, oom: false }));
  }
}
