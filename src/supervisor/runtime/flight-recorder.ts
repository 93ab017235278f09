/**
 * What is kept of a bot for the time after its death: its black box, taken out of its reach when a start has ended, and the
 * supervisor's own readings of it. None of it ever stops the next step.
 */
import { lstatSync } from "node:fs";
import { isEmpty, pruneSealed, sealBlackbox } from "../../platform/blackbox-files.ts";
import type { Clock } from "../../platform/clock.ts";
import { readSample, SampleFile, type MachineReading, type Sampled } from "../../platform/sample-file.ts";
import type { BotPlan } from "./bot-plan.ts";

/** Old starts are removed this much after a new one was sealed, ms: a restart must not wait for that. */
const PRUNE_DELAY_MS = 1_000;
/** A folder that was changed longer ago than this shows every later change by another time, ms: more than a tick of any file system, of which some count whole seconds. */
const SETTLED_MS = 3_000;

export interface FlightRecorderDeps {
  readonly plan: { readonly files: Pick<BotPlan["files"], "blackbox" | "sealedBlackbox" | "samples"> };
  readonly clock: Clock;
  readonly fact: (level: "warn", text: string) => void;
}

export class FlightRecorder {
  readonly #deps: FlightRecorderDeps;
  readonly #file: SampleFile;
  #cancelPrune: (() => void) | undefined;
  #emptySinceMs: number | undefined;
  /** Last trouble that was told: the same one every second must not fill the journal. */
  #trouble: string | undefined;

  constructor(deps: FlightRecorderDeps) {
    this.#deps = deps;
    this.#file = new SampleFile(deps.plan.files.samples);
  }

  /** Nothing lives of the start: what it has recorded is put where the next one cannot touch it. Some renames; never throws. */
  seal(generation: number): void {
    this.#try("seal the black box", () => {
      // Behind a link may be a file system that does not answer, and a kill waits for this.
      const stat = lstatSync(this.#deps.plan.files.blackbox, { throwIfNoEntry: false });
      if (stat?.isDirectory() !== true || this.#isStillEmpty(stat.ctimeMs)) return;
      if (sealBlackbox(this.#folders, generation) === 0) return;
      this.#cancelPrune ??= this.#deps.clock.after(PRUNE_DELAY_MS, () => this.#prune());
    });
  }

  /**
   * The folder was empty at the last look and is as it was: most bots record nothing, and a restart waits for this. A
   * change in the same tick of the file system's clock as the look would not show, so only an older state is believed.
   */
  #isStillEmpty(changedMs: number): boolean {
    if (changedMs === this.#emptySinceMs) return true;
    const settled = this.#deps.clock.wallTime().getTime() - changedMs > SETTLED_MS;
    this.#emptySinceMs = settled && isEmpty(this.#folders.blackbox) ? changedMs : undefined;
    return this.#emptySinceMs !== undefined;
  }

  /** Once a second: one reading of the living start. Never throws. */
  sample(of: Sampled, machine: MachineReading): void {
    this.#try("keep readings", () => {
      const sample = readSample(this.#deps.clock.wallTime().getTime(), of, machine);
      if (sample !== undefined) this.#file.write(sample);
    });
  }

  /** Its file may be gone: the next reading makes it anew. */
  renew(): void {
    this.#file.close();
  }

  close(): void {
    this.#cancelPrune?.();
    this.#file.close();
  }

  get #folders(): { readonly blackbox: string; readonly sealed: string } {
    const { blackbox, sealedBlackbox } = this.#deps.plan.files;
    return { blackbox, sealed: sealedBlackbox };
  }

  #prune(): void {
    this.#cancelPrune = undefined;
    this.#try("remove old black boxes", () => pruneSealed(this.#folders));
  }

  #try(what: string, deed: () => void): void {
    try {
      deed();
      this.#trouble = undefined;
    } catch (error) {
      const text = `cannot ${what}: ${error instanceof Error ? error.message : String(error)}`;
      if (text !== this.#trouble) this.#deps.fact("warn", text);
      this.#trouble = text;
    }
  }
}
