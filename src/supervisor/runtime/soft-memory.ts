/** The soft stage of one bot's memory: says when it is strained and when no longer, and when the bot is restarted for it. */
import type { Policy, State } from "../../core/lifecycle-types.ts";
import type { EnforcedLimits, Limits } from "../../core/limits.ts";
import { formatSize } from "../../core/size.ts";
import {
  foldStrain,
  noStrain,
  relieve,
  strainOf,
  type MemoryLook,
  type Strain,
  type Waiting,
} from "../../core/soft-memory.ts";
import type { Clock } from "../../platform/clock.ts";

interface SoftMemoryLimits {
  readonly limits: Limits | undefined;
  /** What of them holds here. */
  readonly enforced: EnforcedLimits;
}

interface SoftMemoryDeps extends SoftMemoryLimits {
  readonly clock: Clock;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
}

/** What is said when a part of the strain begins and when it ends. */
const WORDS = {
  high: ["the bot uses too much memory and is told to degrade", "the bot's memory is no longer high"],
  growing: ["the bot is told to degrade", "the bot's memory no longer grows towards its limit"],
  pressed: ["the bot is told to degrade", "the bot no longer waits for memory"],
} as const satisfies Record<string, readonly [string, string]>;

export class SoftMemory {
  #deps: SoftMemoryDeps;
  #strain: Strain = noStrain;
  #waiting: Waiting;
  #toldBlind = false;

  constructor(deps: SoftMemoryDeps) {
    this.#deps = deps;
  }

  /**
   * A reload's limits count from the next look on, which judges what was seen so far by them: a bot in the soft stage is not told in between
   * that it may do everything again, and its wait for a quiet moment does not begin anew.
   */
  change(limits: SoftMemoryLimits): void {
    this.#deps = { ...this.#deps, ...limits };
    if (!this.wanted) this.reset();
  }

  /** Whether there is a limit that memory can come near to. */
  get wanted(): boolean {
    const { memoryBytes, memoryHighBytes } = this.#deps.enforced;
    return memoryBytes !== undefined || memoryHighBytes !== undefined;
  }

  get strained(): boolean {
    return strainOf(this.#strain) !== undefined;
  }

  /** Takes a look into account. True when `strained` changed. */
  look(seen: Omit<MemoryLook, "atMs">): boolean {
    const { limits, enforced, clock, fact } = this.#deps;
    const before = this.#strain;
    if (seen.pressurePercent === undefined && !this.#toldBlind) {
      this.#toldBlind = true;
      fact(
        "info",
        "this machine does not tell the bot's memory pressure (cgroup v2, PSI): only use and growth are watched",
      );
    }
    const soft = { ...enforced, horizonMs: limits?.memoryHorizon ?? 0 };
    this.#strain = foldStrain(before, soft, { ...seen, atMs: clock.monotonicMs() });
    for (const part of ["high", "growing", "pressed"] as const) {
      const [was, is] = [before[part], this.#strain[part]];
      const [begun, over] = WORDS[part];
      if (was === undefined && is !== undefined) fact("alert", `${begun}: ${is}`);
      if (was !== undefined && is === undefined) fact("info", `${over}${this.#numbers(seen.usedBytes)}`);
    }
    return (strainOf(before) === undefined) !== (strainOf(this.#strain) === undefined);
  }

  /** Why the bot is to be restarted politely now; `undefined`: it is not. */
  relief(inFlight: number | undefined, state: State, policy: Policy): string | undefined {
    const { limits, clock, fact } = this.#deps;
    if (limits === undefined) return undefined;
    const begun = this.#waiting === undefined;
    const { waiting, restart, refusal } = relieve(
      { restart: limits.onMemoryHigh === "restart", quietTimeoutMs: limits.quietTimeout },
      this.#waiting,
      { atMs: clock.monotonicMs(), strain: this.#strain, inFlight, state, policy },
    );
    this.#waiting = waiting;
    if (refusal !== undefined) fact("alert", `the bot is not restarted for its memory: ${refusal}`);
    else if (begun && waiting !== undefined)
      fact("warn", "the bot is to be restarted for its memory at a quiet moment");
    return restart;
  }

  /** The start is over. */
  reset(): void {
    this.#strain = noStrain;
    this.#waiting = undefined;
  }

  #numbers(usedBytes: number | undefined): string {
    const { memoryHighBytes } = this.#deps.enforced;
    if (usedBytes === undefined) return "";
    const line = memoryHighBytes === undefined ? "" : `, memoryHigh ${formatSize(memoryHighBytes)}`;
    return `: memory ${formatSize(usedBytes)}${line}`;
  }
}
