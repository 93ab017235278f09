/**
 * Runs the probes of one generation of a bot when they are due, the way the kubelet does: startup probes gate the
 * others, never two runs of one probe at once, and an outcome that comes after the end of the generation is dropped.
 */
import { excuseRun, type Disturbance, type Excuses } from "../../core/excuse.ts";
import {
  botHealth,
  foldResult,
  freshRecord,
  type ProbeRecord,
  type ProbeResult,
  type Verdict,
} from "../../core/verdict.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Probe } from "../../probes/contract.ts";
import { onFailureOf, probeName, type ProbeConfig } from "../../probes/index.ts";
import { isUpstream } from "../../probes/upstream.ts";
import { UpstreamLog } from "./upstream-log.ts";

/** Shortest pause between two runs of a probe, ms: a probe that is always overdue must not spin. */
const MIN_PAUSE_MS = 10;
/** Every probe bounds itself by its `timeout`; one that does not is broken, which this much later says nothing of the bot. */
const BACKSTOP_MS = 10_000;
/** Why a run is called off; one for all, as making an exception at each stop takes longer than the rest of it. */
const OVER = new Error("the probe is not wanted any more");

/** What status shows of a probe. */
export interface ProbeView {
  readonly config: ProbeConfig;
  readonly record: ProbeRecord;
  readonly result: ProbeResult | undefined;
  readonly lastAt: Date | undefined;
  readonly latencyMs: number | undefined;
}

export interface ScheduleDeps {
  readonly clock: Clock;
  /** `armedAtMs`: the moment from which its silence is counted, where it is not that of the start. */
  readonly createProbe: (config: ProbeConfig, armedAtMs?: () => number) => Probe;
  /** Called right before a run is judged: what the bot said meanwhile must be read first. */
  readonly beforeRun: () => void;
  /** What disturbed the machine last; asked for when a probe has failed. */
  readonly disturbance: () => Disturbance | undefined;
  /** The bot has sent a heartbeat recently enough. */
  readonly beating: () => boolean;
  /** A failure does not count, the first since the last one that did and the last success. */
  readonly onExcused: (probe: ProbeView) => void;
  /** The verdict of a probe has changed. */
  readonly onVerdict: (probe: ProbeView) => void;
  /** The health of the whole bot has changed. */
  readonly onHealth: (health: Verdict) => void;
  /** Every startup probe is healthy. */
  readonly onStartupPassed: () => void;
}

interface Entry {
  readonly config: ProbeConfig;
  readonly probe: Probe;
  record: ProbeRecord;
  result: ProbeResult | undefined;
  lastAt: Date | undefined;
  latencyMs: number | undefined;
  excuses: Excuses;
  /** The last failure did not count. */
  excused: boolean;
  started: boolean;
  running: boolean;
  /** A reload took the probe away: what its run still answers is dropped. */
  readonly gone: AbortController;
  cancel: () => void;
}

export class Schedule {
  readonly #deps: ScheduleDeps;
  #entries: readonly Entry[];
  #over = false;
  /** Ends the runs that are under way. */
  readonly #stopped = new AbortController();
  readonly #startedAtMs: number;
  #begun = false;
  readonly #upstreams = new UpstreamLog();
  #armed = false;
  #health: Verdict = "pending";

  constructor(configs: readonly ProbeConfig[], deps: ScheduleDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.monotonicMs();
    this.#entries = configs.map((config) => createEntry(config, deps.createProbe(config)));
  }

  get health(): Verdict {
    return this.#health;
  }

  get views(): readonly ProbeView[] {
    return this.#entries;
  }

  /** Starts the startup probes. */
  start(): void {
    this.#begun = true;
    for (const entry of this.#entries) if (entry.config.role === "startup") this.#begin(entry);
  }

  /** The bot is running: the other probes begin, now or when the startup probes have passed. */
  arm({ startupPassed = false }: { startupPassed?: boolean } = {}): void {
    if (startupPassed) this.#passStartup();
    else this.start();
    this.#begun = true;
    this.#armed = true;
    this.#openGate();
  }

  /** Judges the probes of one kind now: what they wait for has just changed. A run that is under way is not doubled. */
  poke(kind: ProbeConfig["kind"]): void {
    if (this.#over) return;
    for (const entry of this.#entries) {
      if (entry.config.kind !== kind || !entry.started || entry.running) continue;
      entry.cancel();
      this.#later(entry, 0);
    }
  }

  /**
   * A reload: a probe that is as it was goes on with its record, any other begins anew and counts silence from `armedAtMs`,
   * and one that is not named any more ends. A bot that has passed its startup does not pass it again.
   */
  change(configs: readonly ProbeConfig[], armedAtMs: () => number): void {
    if (this.#over) return;
    const passed = this.#startupPassed();
    const left = [...this.#entries];
    this.#entries = configs.map((config) => {
      const index = left.findIndex((entry) => Bun.deepEquals(entry.config, config));
      const [kept] = index === -1 ? [] : left.splice(index, 1);
      return kept ?? createEntry(config, this.#deps.createProbe(config, armedAtMs));
    });
    for (const entry of left) {
      entry.gone.abort(OVER);
      entry.cancel();
    }
    if (!this.#begun) return;
    if (this.#armed && passed) this.#passStartup();
    this.start();
    if (!passed && this.#startupPassed()) this.#deps.onStartupPassed();
    this.#openGate();
    this.#judge();
  }

  /** Ends every probe; what a run still answers is dropped. */
  stop(): void {
    this.#over = true;
    // A restart waits for the end of the probes, and most have none under way.
    if (this.#entries.some((entry) => entry.running)) this.#stopped.abort(OVER);
    for (const entry of this.#entries) entry.cancel();
  }

  #passStartup(): void {
    for (const entry of this.#entries) {
      if (entry.config.role !== "startup" || entry.started) continue;
      entry.started = true;
      entry.record = { verdict: "healthy", run: undefined };
    }
  }

  #openGate(): void {
    if (!this.#armed || !this.#startupPassed()) return;
    for (const entry of this.#entries) this.#begin(entry);
  }

  #startupPassed(): boolean {
    return this.#entries.every((entry) => entry.config.role !== "startup" || entry.record.verdict === "healthy");
  }

  #begin(entry: Entry): void {
    if (entry.started || this.#over) return;
    entry.started = true;
    const age = this.#deps.clock.monotonicMs() - this.#startedAtMs;
    this.#later(entry, Math.max(0, entry.config.initialDelay - age));
  }

  #later(entry: Entry, delayMs: number): void {
    entry.cancel = this.#deps.clock.after(delayMs, () => void this.#run(entry));
  }

  async #run(entry: Entry): Promise<void> {
    const { clock } = this.#deps;
    const startMs = clock.monotonicMs();
    entry.running = true;
    const { result, settled } = await this.#runOnce(entry);
    if (this.#isOver(entry)) return;
    entry.latencyMs = clock.monotonicMs() - startMs;
    this.#note(entry, this.#excuse(entry, result, startMs));
    // A run that outlives its own timeout must end before the next one begins.
    await settled;
    entry.running = false;
    // A startup probe has done its work with its first success.
    const passed = entry.config.role === "startup" && entry.record.verdict === "healthy";
    if (this.#isOver(entry) || passed) return;
    const pauseMs = entry.probe.nextDelayMs?.() ?? entry.config.period - (clock.monotonicMs() - startMs);
    this.#later(entry, Math.max(MIN_PAUSE_MS, pauseMs));
  }

  #isOver({ gone }: Entry): boolean {
    return this.#over || gone.signal.aborted;
  }

  async #runOnce(entry: Entry): Promise<{ result: ProbeResult; settled: Promise<unknown> }> {
    const { clock } = this.#deps;
    const timedOut = new AbortController();
    const signal = AbortSignal.any([timedOut.signal, this.#stopped.signal, entry.gone.signal]);
    const run = this.#guarded(entry, signal);
    const { promise: hung, resolve } = Promise.withResolvers<ProbeResult>();
    const reason = `the probe itself hangs: no answer ${BACKSTOP_MS} ms after its timeout`;
    const { timeout } = entry.config;
    const cancelTimeout = clock.after(timeout, () => timedOut.abort());
    const cancelBackstop = clock.after(timeout + BACKSTOP_MS, () => resolve({ kind: "unknown", reason }));
    const result = await Promise.race([run, hung]);
    cancelTimeout();
    cancelBackstop();
    return { result, settled: run };
  }

  /** A throw is the probe's own trouble, or the machine's: it says nothing of the bot. */
  async #guarded(entry: Entry, signal: AbortSignal): Promise<ProbeResult> {
    try {
      this.#deps.beforeRun();
      return await entry.probe.run(signal);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { kind: "unknown", reason: `the probe itself broke: ${why}` };
    }
  }

  /** The result as it counts: a failure with a cause that is not the bot's says nothing of the bot. */
  #excuse(entry: Entry, raw: ProbeResult, startMs: number): ProbeResult {
    const { clock, beating, disturbance, onExcused } = this.#deps;
    const { config } = entry;
    const endMs = clock.monotonicMs();
    const upstream = isUpstream(config);
    if (upstream) this.#upstreams.note(probeName(config), raw, endMs);
    const { result, excuses } = excuseRun({ ...config, onFailure: onFailureOf(config) }, entry.excuses, {
      result: raw,
      startMs,
      endMs,
      upstream,
      beating: beating(),
      upstreamTrouble: (graceMs) => this.#upstreams.trouble(startMs, graceMs),
      disturbance,
    });
    entry.excuses = excuses;
    const excused = raw.kind === "failure" && result.kind === "unknown";
    const first = excused && !entry.excused;
    if (raw.kind !== "unknown") entry.excused = excused;
    if (first) onExcused({ ...entry, result });
    return result;
  }

  #note(entry: Entry, result: ProbeResult): void {
    const before = entry.record.verdict;
    entry.record = foldResult(entry.record, result, entry.config);
    entry.result = result;
    entry.lastAt = this.#deps.clock.wallTime();
    const changed = entry.record.verdict !== before;
    if (changed) this.#deps.onVerdict(entry);
    if (this.#over) return;
    if (changed && entry.config.role === "startup" && this.#startupPassed()) {
      this.#deps.onStartupPassed();
      this.#openGate();
    }
    this.#judge();
  }

  #judge(): void {
    const judged = this.#entries.map((entry) => ({ role: entry.config.role, verdict: entry.record.verdict }));
    const health = botHealth(judged);
    if (health === this.#health) return;
    this.#health = health;
    this.#deps.onHealth(health);
  }
}

function createEntry(config: ProbeConfig, probe: Probe): Entry {
  return {
    config,
    probe,
    record: freshRecord,
    result: undefined,
    lastAt: undefined,
    latencyMs: undefined,
    excuses: undefined,
    excused: false,
    started: false,
    running: false,
    gone: new AbortController(),
    cancel: () => {},
  };
}

/** The probes of a bot: those of its config, and the one that every bot has. */
export function withProcessProbe(configs: readonly ProbeConfig[], always: ProbeConfig): readonly ProbeConfig[] {
  return configs.some((config) => config.kind === "process") ? configs : [always, ...configs];
}

/** A failure that does not count, in words. */
export function excusedText({ config, result }: ProbeView): string {
  const why = result === undefined || result.kind === "success" ? "" : `: ${result.reason}`;
  return `probe ${probeName(config)} fails, which does not count against the bot${why}`;
}
