/** The invariants of the architecture as properties of the lifecycle, in a world that respects nothing; the lawful one is in lifecycle-lawful. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { step, table } from "../../src/core/lifecycle.ts";
import type { Effect, Policy, State } from "../../src/core/lifecycle-types.ts";
import {
  anyPolicy,
  atRest,
  cooperate,
  hostileScript,
  play,
  RUNS,
  STEPS_TO_REST,
  type Seen,
} from "./lifecycle-world.ts";

/** Plays hostile scripts; `makeLook` starts a fresh model for each. */
function always(makeLook: (policy: Policy) => (seen: Seen) => string | undefined): () => void {
  const property = fc.property(anyPolicy, hostileScript, (policy, script) => {
    play(policy, script, makeLook(policy));
  });
  return () => fc.assert(property, RUNS);
}

const has = (effects: readonly Effect[], kind: Effect["kind"]): boolean => effects.some((e) => e.kind === kind);
const at = (effects: readonly Effect[], kind: Effect["kind"]): number => effects.findIndex((e) => e.kind === kind);
const isCurrent = ({ before, event }: Seen): boolean =>
  !("generation" in event) || event.generation === before.generation;

/** The ghost of the bot: alive from its spawn until a sweep that was asked for has proven it gone. */
function ghost(): (seen: Seen) => string | undefined {
  let alive = false;
  let swept = false;
  return (seen) => {
    const { before, event, after } = seen;
    if (event.kind === "leftovers" && before.kind === "stopped") alive = true;
    if (event.kind === "adopted" && isCurrent(seen) && before.kind === "stopped") {
      alive = true;
      swept = false;
    }
    if (event.kind === "gone" && isCurrent(seen) && swept) alive = false;
    if (event.kind === "exited" && isCurrent(seen) && event.proven === true) alive = false;
    for (const effect of after.effects) {
      if (effect.kind === "sweep") swept = true;
      if (effect.kind === "runAction" && alive) return "closes positions of a bot that may be alive";
      if (effect.kind !== "spawn") continue;
      if (alive) return "spawns beside a bot that may be alive";
      if (effect.generation <= before.generation) return "spawns a generation that has been used";
      alive = true;
      swept = false;
    }
    return undefined;
  };
}

/** Whether somebody has said something against the bot: probes that are pending or unknown never do. */
function isBadNews(seen: Seen): boolean {
  const { before, event } = seen;
  if (event.kind === "lockFound") return true;
  if (!isCurrent(seen) && !(event.kind === "elapsed" && event.timer === "closeAfter")) return false;
  const up = before.kind === "starting" || before.kind === "running";
  switch (event.kind) {
    case "exited":
    case "spawnFailed":
      return up || before.kind === "stopping";
    case "failing":
    case "leaving":
      return up;
    case "verdict":
      return before.kind === "running" && event.health === "unhealthy";
    case "elapsed":
      // A bot that is not ready in time is no opinion of a probe.
      return before.kind === "starting" && (event.timer === "start" || event.timer === "closeAfter");
    case "backoffFound":
      // Who waits before a restart has seen the bot end.
      return before.kind === "stopped";
    case "start":
    case "stop":
    case "restart":
    case "emergency":
    case "arm":
    case "acknowledge":
    case "leftovers":
    case "adopted":
    case "spawned":
    case "ready":
    case "extend":
    case "resetBackoff":
    case "gone":
    case "survivors":
    case "hookEnded":
    case "actionEnded":
    case "newPolicy":
      return false;
  }
}

/** Nothing closes by itself unless something bad was said since the bot was last healthy. */
function closesOnlyOnBadNews(): (seen: Seen) => string | undefined {
  let suspect = false;
  return (seen) => {
    const { before, event, after } = seen;
    if (isBadNews(seen)) suspect = true;
    for (const effect of after.effects)
      if (effect.kind === "openIncident" && (effect.trigger === "closeAfter" || effect.trigger === "giveUp"))
        if (!suspect && before.kind !== "locked") return "closes positions although nothing is known against the bot";
    const rearmed = before.kind === "locked" && after.state.kind !== "locked" && event.kind === "arm";
    if (rearmed || (after.state.kind === "running" && after.state.health === "healthy")) suspect = false;
    return undefined;
  };
}

/** `closeAfter` ends by a close, by being down on purpose, or by health that lasts; no single good word ends it. */
function closeClockIsStubborn(): (seen: Seen) => string | undefined {
  return ({ before, event, after: { state } }) => {
    if (before.closeClock === "off" || state.closeClock !== "off") return undefined;
    if (state.kind === "stopped" || state.kind === "recovering" || state.kind === "locked") return undefined;
    const lasting = before.kind === "running" && before.health === "healthy";
    const settled = lasting && event.kind === "elapsed" && event.timer === "settled";
    return settled ? undefined : "stops counting closeAfter without a reason";
  };
}

/** Each restart is counted for one reason, and for one that is known, unless another version has decided it. */
function reasons(): (seen: Seen) => string | undefined {
  let handedOver = false;
  return ({ event, after: { state } }) => {
    handedOver ||= event.kind === "backoffFound";
    const counts = Object.entries(state.restartsBy);
    if (counts.reduce((sum, [, count]) => sum + count, 0) !== state.restarts) return "counts restarts twice or not";
    return "unknown" in state.restartsBy && !handedOver ? "restarts for no reason" : undefined;
  };
}

const acceptsArm = ({ before, event }: Seen): boolean =>
  before.kind === "locked" && event.kind === "arm" && (before.outcome === "flat" || event.acceptPositions);

/** From the moment an emergency is accepted, only an accepted `arm` leads back to a living bot. */
function lockout(): (seen: Seen) => string | undefined {
  let locked = false;
  let unclosed = false;
  return (seen) => {
    const { before, event, after } = seen;
    if (acceptsArm(seen)) locked = false;
    else if (locked && has(after.effects, "spawn")) return "spawns a bot that is locked out";
    if (event.kind === "emergency" && before.kind !== "recovering") locked = unclosed = true;
    if (event.kind === "lockFound" && ["stopped", "stopping", "stuck"].includes(before.kind)) locked = true;
    if (has(after.effects, "runAction") || has(after.effects, "endIncident")) unclosed = false;
    if (after.state.kind === "recovering" || after.state.kind === "locked") locked = true;
    if (locked && !["stopping", "stuck", "recovering", "locked"].includes(after.state.kind))
      return `is ${after.state.kind} in a lockout`;
    return unclosed && after.state.kind === "locked" ? "forgot an emergency" : undefined;
  };
}

const intendsToClose = (state: State): boolean =>
  state.kind === "recovering" || ("after" in state && state.after.kind === "recover");

/** The intent is on disk before the first kill and before the first rung; a lockout that was found is there already. */
function incidentFirst(): (seen: Seen) => string | undefined {
  return ({ before, event, after: { state, effects } }) => {
    const opened = at(effects, "openIncident");
    const enters = before.kind !== "recovering" && has(effects, "runAction");
    if (enters && (opened < 0 || opened > at(effects, "runAction"))) return "acts before the incident is on disk";
    if (intendsToClose(before) || !intendsToClose(state)) return undefined;
    if (opened < 0) return event.kind === "lockFound" ? undefined : "keeps the intent to close in memory only";
    const kills = at(effects, "sweep");
    return kills < 0 || opened < kills ? undefined : "kills before the incident is on disk";
  };
}

function climbs(policy: Policy): (seen: Seen) => string | undefined {
  const rungs = policy.emergency?.ladder.length ?? 0;
  return ({ before, event, after: { state, effects } }) => {
    if (before.kind !== "recovering") return undefined;
    if (event.kind !== "actionEnded") return state.kind === "recovering" ? undefined : "left the ladder by itself";
    if (before.rung + 1 >= rungs)
      return state.kind === "locked" && has(effects, "endIncident") ? undefined : "did not lock at the top";
    const next = state.kind === "recovering" && state.rung === before.rung + 1 && has(effects, "runAction");
    return next ? undefined : "did not run the next rung";
  };
}

function bounds(policy: Policy): (seen: Seen) => string | undefined {
  return ({ before, after: { state, effects } }) => {
    if (state.log.length > policy.budget.intensity + 1) return "the restart log outgrew its bound";
    if (state.generation > before.generation + 1) return "skipped a generation";
    for (const effect of effects) {
      if (effect.kind !== "setTimer") continue;
      if (!Number.isFinite(effect.delayMs) || effect.delayMs < 0) return `cannot wait ${effect.delayMs} ms`;
      if (effect.timer === "backoff" && effect.delayMs > policy.backoff.cap) return "a delay beyond the cap";
    }
    return effects.length > 20 ? "too many effects for one event" : undefined;
  };
}

function purity(policy: Policy): (seen: Seen) => string | undefined {
  return ({ before, event, after }) => {
    const again = step(deepFreeze(policy), deepFreeze(before), deepFreeze(event));
    return isDeepStrictEqual(again, after) ? undefined : "answers the same question differently";
  };
}

describe("step() in a world that respects nothing", () => {
  test("I1, I2: neither spawns nor closes positions before the last generation is proven gone", () => {
    expect(always(ghost)).not.toThrow();
  });

  test("I2: closes nothing by itself while probes are only pending or unknown", () => {
    expect(always(closesOnlyOnBadNews)).not.toThrow();
  });

  test("I2: stops counting closeAfter only for health that lasts, a close, or an operator", () => {
    expect(always(closeClockIsStubborn)).not.toThrow();
  });

  test("I3: an emergency ends in a lockout that only an accepted arm ends", () => {
    expect(always(lockout)).not.toThrow();
  });

  test("I4: the incident is opened before anything is killed or closed for it", () => {
    expect(always(incidentFirst)).not.toThrow();
  });

  test("I5: a rung that ends in whatever way is followed by the next one or by the lock", () => {
    expect(always(climbs)).not.toThrow();
  });

  test("I8: the restart log, delays and effects stay within their bounds", () => {
    expect(always(bounds)).not.toThrow();
  });

  test("each automatic restart has one reason, and the counts of the reasons add up to the restarts", () => {
    expect(always(reasons)).not.toThrow();
  });

  test("I7: is a pure function that leaves its arguments alone", () => {
    expect(always(purity)).not.toThrow();
  });

  test("I7: a shift of all times shifts nothing but the times that are stored", () => {
    const property = fc.property(
      anyPolicy,
      hostileScript,
      fc.integer({ min: -1_000_000, max: 1_000_000_000 }),
      (policy, script, shiftMs) => {
        const told: Effect[][] = [[], []];
        const ends = [0, shiftMs].map((ms, i) =>
          play(
            policy,
            script.map((line) => ({ ...line, atMs: line.atMs + ms })),
            ({ after }) => void told[i]?.push(...after.effects),
          ),
        );
        if (!isDeepStrictEqual(told[0], told[1])) throw new Error("effects depend on the absolute time");
        if (!isDeepStrictEqual(ends.map((s, i) => shifted(s, i === 0 ? shiftMs : 0))[0], ends[1]))
          throw new Error("the state depends on the absolute time");
      },
    );
    expect(() => fc.assert(property, RUNS)).not.toThrow();
  });

  test("a world that starts to cooperate brings every state to rest", () => {
    const property = fc.property(anyPolicy, hostileScript, (policy, script) => {
      let state = play(policy, script);
      for (let i = 0; i < STEPS_TO_REST && !atRest(state); i++) ({ state } = step(policy, state, cooperate(state)));
      if (!atRest(state)) throw new Error(`still ${state.kind}`);
    });
    expect(() => fc.assert(property, RUNS)).not.toThrow();
  });

  test("the scripts of these properties reach every state and every cell that acts", () => {
    const hit = new Set<string>();
    const look = ({ before, event }: Seen) => void hit.add(`${before.kind} + ${event.kind}`);
    const scripts = fc.sample(fc.tuple(anyPolicy, hostileScript), { numRuns: 3_000, seed: 1 });
    for (const [policy, script] of scripts) play(policy, script, look);
    const acting = Object.entries(table).flatMap(([state, row]) =>
      Object.entries(row).flatMap(([event, cell]) => (cell === "ignore" ? [] : [`${state} + ${event}`])),
    );
    expect(acting.filter((cell) => !hit.has(cell))).toEqual([]);
  });
});

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

/** `state` with every stored time moved by `ms`. */
function shifted(state: State, ms: number): State {
  const moved: Record<string, unknown> = {
    ...state,
    log: state.log.map(({ atMs, count }) => ({ atMs: atMs + ms, count })),
  };
  for (const key of ["sinceMs", "deadlineMs", "startAtMs"])
    if (typeof moved[key] === "number") moved[key] = moved[key] + ms;
  // Safe: the same state with other numbers in its own fields.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return moved as unknown as State;
}
