/**
 * Degradation levels of a bot, as data: proposals go in, the level that holds comes out. It rises at once and comes down one step
 * at a time; a bot never gets more permissions than the highest proposal that holds leaves it.
 *
 * Pure: times are ms of one clock that the caller chooses, chance is a number.
 */
import type { Action, GateAnswer, Level, LevelProposal } from "./gate.ts";

/** From "everything" to "only get out". */
export const LEVELS: readonly Level[] = ["normal", "degraded", "minimal", "emergency"];

/** How long everything must be clear before a level is left, ms. */
export const CLEAR_MS: Readonly<Record<Exclude<Level, "normal">, number>> = {
  degraded: 60_000,
  minimal: 120_000,
  emergency: 300_000,
};
/** Share of that time by which chance may lengthen it, so that many bots do not come back in the same second. */
export const JITTER_RATIO = 0.1;
/** So many rises within `RISE_WINDOW_MS` hold the level for `HOLD_MS`: whatever makes it flap is not over. */
const MAX_RISES = 3;
const RISE_WINDOW_MS = 600_000;
export const HOLD_MS = 900_000;
/** Longest time that a proposal holds without being renewed, ms. */
const MAX_TTL_MS = 86_400_000;
/** Sources that are remembered; a further one replaces the mildest if it is worse. */
export const MAX_SOURCES = 64;
/** Of an order that adds exposure, while degraded. */
const DEGRADED_SIZE_FACTOR = 0.5;

interface HeldProposal {
  readonly source: string;
  readonly level: Level;
  readonly reason: string;
  readonly untilMs: number;
}

export interface Degradation {
  readonly level: Level;
  /** Why, for people; empty when normal. */
  readonly reason: string;
  /** Who demanded the level that holds. */
  readonly source: string;
  readonly sinceMs: number;
  /** An emergency of the bot's own is left only by an explicit `setLevel`. */
  readonly latched: boolean;
  /** What the supervisor demands at least. */
  readonly floor: Level;
  readonly proposals: readonly HeldProposal[];
  /** Rises of the last `RISE_WINDOW_MS`, oldest first. */
  readonly rises: readonly number[];
  /** It is not left before; 0 for none. */
  readonly holdUntilMs: number;
  /** When the next step down is due, as long as nothing is proposed meanwhile; `undefined` while something is. */
  readonly downAtMs: number | undefined;
}

/** A level as it outlives its process. Times are wall time, ms since 1970 UTC. */
export interface SavedLevel {
  readonly level: Level;
  readonly reason: string;
  readonly source: string;
  readonly since: number;
  readonly latched: boolean;
  readonly holdUntil: number;
}

/** The source under which the supervisor's floor is reported. */
export const SUPERVISOR = "supervisor";

const NORMAL: Degradation = {
  level: "normal",
  reason: "",
  source: "",
  sinceMs: 0,
  latched: false,
  floor: "normal",
  proposals: [],
  rises: [],
  holdUntilMs: 0,
  downAtMs: undefined,
};

/** The worse of two levels. */
export function worseOf(a: Level, b: Level): Level {
  return rank(a) >= rank(b) ? a : b;
}

function rank(level: Level): number {
  return LEVELS.indexOf(level);
}

/**
 * What a start begins with: the level that was kept, or the floor where that is worse. `offsetMs` is what is added to a wall
 * time to get a time of the caller's clock. A hold is never longer than one that begins now: clocks are set.
 */
export function restoreLevel(
  saved: SavedLevel | undefined,
  floor: Level,
  nowMs: number,
  offsetMs: number,
): Degradation {
  if (saved === undefined) return settleLevel(setFloor({ ...NORMAL, sinceMs: nowMs }, floor), nowMs, 0);
  const { level, reason, source, latched } = saved;
  const hold = saved.holdUntil + offsetMs;
  const holdUntilMs = hold > nowMs ? Math.min(hold, nowMs + HOLD_MS) : 0;
  const sinceMs = Math.min(saved.since + offsetMs, nowMs);
  return settleLevel({ ...NORMAL, level, reason, source, latched, floor, holdUntilMs, sinceMs }, nowMs, 0);
}

/** What is to be kept. `offsetMs` as in `restoreLevel`. */
export function savedLevel(state: Degradation, offsetMs: number): SavedLevel {
  const { level, reason, source, latched, sinceMs, holdUntilMs } = state;
  const wall = (ms: number): number => Math.round(ms - offsetMs);
  return { level, reason, source, latched, since: wall(sinceMs), holdUntil: holdUntilMs === 0 ? 0 : wall(holdUntilMs) };
}

/** A proposal of `normal` withdraws what its source had proposed. A time to live that is none counts as the longest. */
export function proposeLevel(state: Degradation, proposal: LevelProposal, nowMs: number): Degradation {
  const { source, level, reason, ttlMs } = proposal;
  const others = state.proposals.filter((held) => held.source !== source && held.untilMs > nowMs);
  if (level === "normal") return { ...state, proposals: others };
  const ttl = Number.isFinite(ttlMs) ? Math.min(Math.max(ttlMs, 0), MAX_TTL_MS) : MAX_TTL_MS;
  const proposals = [...others, { source, level, reason, untilMs: nowMs + ttl }];
  if (proposals.length <= MAX_SOURCES) return { ...state, proposals };
  const mildest = Math.min(...proposals.map((held) => rank(held.level)));
  return {
    ...state,
    proposals: proposals.toSpliced(
      proposals.findIndex((held) => rank(held.level) === mildest),
      1,
    ),
  };
}

export function setFloor(state: Degradation, floor: Level): Degradation {
  return { ...state, floor };
}

/**
 * A person, or the bot after it has made sure, sets the level. It ends a latch, a hold and every proposal, which come back if
 * they are still true; it never goes below the supervisor's floor.
 */
export function setLevel(state: Degradation, level: Level, reason: string, nowMs: number): Degradation {
  const bare = { ...state, proposals: [], rises: [], holdUntilMs: 0, downAtMs: undefined, sinceMs: nowMs };
  const set = { ...bare, level, reason, source: "set", latched: level === "emergency" };
  return rank(level) >= rank(state.floor) ? set : { ...set, ...byFloor(state.floor) };
}

function byFloor(floor: Level): Pick<Degradation, "level" | "reason" | "source" | "latched"> {
  return { level: floor, reason: `the supervisor demands ${floor}`, source: SUPERVISOR, latched: false };
}

/** Brings the level up to date: to be called after each change and about once a second. `roll` is in [0, 1). */
export function settleLevel(state: Degradation, nowMs: number, roll: number): Degradation {
  const proposals = state.proposals.filter(({ untilMs }) => untilMs > nowMs);
  const current = proposals.length === state.proposals.length ? state : { ...state, proposals };
  const demand = demandOf(current);
  const above = rank(demand.level) - rank(current.level);
  if (above > 0) return risen(current, demand, nowMs);
  if (above === 0) {
    // The supervisor keeps its own latch; the bot's own emergency beside it makes it one of both.
    const latched = current.latched || (demand.level === "emergency" && demand.source !== SUPERVISOR);
    return { ...current, latched, downAtMs: undefined };
  }
  return clearing(current, nowMs, roll);
}

/** The worst that is demanded; the bot's own demand before a floor of the same level, since it says more. */
function demandOf({ proposals, floor }: Degradation): Pick<Degradation, "level" | "reason" | "source" | "latched"> {
  let worst = byFloor(floor);
  for (const { level, reason, source } of proposals)
    if (rank(level) > rank(worst.level) || (rank(level) === rank(worst.level) && worst.source === SUPERVISOR))
      worst = { level, reason, source, latched: level === "emergency" };
  return worst;
}

function risen(
  state: Degradation,
  demand: Pick<Degradation, "level" | "reason" | "source" | "latched">,
  nowMs: number,
): Degradation {
  const rises = [...state.rises.filter((at) => at > nowMs - RISE_WINDOW_MS), nowMs].slice(-MAX_RISES);
  const holdUntilMs = rises.length < MAX_RISES ? state.holdUntilMs : Math.max(state.holdUntilMs, nowMs + HOLD_MS);
  return { ...state, ...demand, sinceMs: nowMs, rises, holdUntilMs, downAtMs: undefined };
}

function clearing(state: Degradation, nowMs: number, roll: number): Degradation {
  const { level } = state;
  if (level === "normal" || state.latched) return { ...state, downAtMs: undefined };
  const jitter = 1 + JITTER_RATIO * Math.min(Math.max(roll, 0), 1);
  const downAtMs = state.downAtMs ?? nowMs + CLEAR_MS[level] * jitter;
  if (nowMs < Math.max(downAtMs, state.holdUntilMs)) return { ...state, downAtMs };
  const below = LEVELS[rank(level) - 1] ?? "normal";
  const demand = demandOf(state);
  const why =
    below === demand.level ? demand : { level: below, reason: state.reason, source: state.source, latched: false };
  return {
    ...state,
    ...why,
    ...(below === "normal" ? { reason: "", source: "" } : {}),
    sinceMs: nowMs,
    downAtMs: undefined,
  };
}

/** What may be done at a level. Getting out, taking orders back and reading are never refused. */
export function gateAt({ level, reason }: Pick<Degradation, "level" | "reason">, action: Action): GateAnswer {
  const adds = action === "open" || action === "increase";
  if (!adds || level === "normal") return { allowed: true, sizeFactor: 1 };
  if (level === "degraded") return { allowed: true, sizeFactor: DEGRADED_SIZE_FACTOR };
  return { allowed: false, level, reason: `the level is ${level}: ${reason}` };
}
