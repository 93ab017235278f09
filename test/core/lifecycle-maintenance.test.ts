/** Maintenance: nothing closes positions by itself, a person's order does, and what was at risk is protected again afterwards. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { step } from "../../src/core/lifecycle.ts";
import { CLOSE_RETRY_MS } from "../../src/core/ladder.ts";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { Life, MIN, S } from "./lifecycle-life.ts";
import { anyPolicy, hostileScript, play, type Seen } from "./lifecycle-world.ts";

const emergency = { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] } as const;
const suspended = { emergency: { ...emergency, suspended: true } };
const before = { startTimeout: 30 * S, resetAfter: 10 * MIN };

/** `life`, as it goes on under a policy that differs by `fields`. */
function under(life: Life, fields: Partial<Policy>): Life {
  const next = new Life({ ...life.policy, ...fields });
  next.state = life.state;
  next.atMs = life.atMs;
  return next.on("newPolicy", { before, countedMs: life.state.closeClock === "counting" ? MIN : undefined });
}

const inMaintenance = (policy: Policy): Policy => ({
  ...policy,
  emergency: { ...(policy.emergency ?? emergency), suspended: true },
});

describe("step() in maintenance", () => {
  test("opens no incident but by a person's order, or where a lockout was found", () => {
    const property = fc.property(anyPolicy, hostileScript, (policy, script) => {
      let ordered = false;
      play(inMaintenance(policy), script, ({ event, after }: Seen) => {
        if (event.kind === "lockFound") ordered = true;
        if (event.kind === "emergency" && (event.trigger === "operator" || event.trigger === "environment"))
          ordered = true;
        const opens = after.effects.some(({ kind }) => kind === "openIncident" || kind === "runAction");
        return opens && !ordered ? "closes positions although nobody asked for it" : undefined;
      });
    });
    expect(() => fc.assert(property, { numRuns: 3_000, includeErrorInReport: true })).not.toThrow();
  });

  test("halts a bot whose budget is spent, and closes it after closeAfter from the end of the maintenance", () => {
    const life = new Life({ ...suspended, budget: { intensity: 1, period: 10 * MIN } }).run().die().comeBack().die();
    expect(life.state).toMatchObject({ kind: "halted", closeClock: "off" });
    const later = under(life, { emergency });
    expect(later.delay("closeAfter")).toBe(5 * MIN);
    expect(later.fire("closeAfter").state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
  });

  test("stops counting closeAfter, and counts it anew afterwards", () => {
    const life = under(new Life({ emergency }).run().die(), suspended);
    expect(life.state).toMatchObject({ kind: "backoff", closeClock: "off" });
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "closeAfter" });
    expect(under(life, { emergency }).delay("closeAfter")).toBe(5 * MIN);
  });

  test("forgets that closeAfter was over before it", () => {
    const life = under(new Life({ emergency }).run().fire("closeAfter"), suspended);
    expect(life.state).toMatchObject({ kind: "running", closeClock: "off" });
    expect(life.die().state.kind).toBe("backoff");
  });

  test("restarts a bot whose probe would close its positions", () => {
    const life = new Life(suspended).run().on("failing", { action: "emergency" });
    expect(life.state).toMatchObject({ kind: "stopping", after: { kind: "restart" } });
  });

  test.each(["file", "signal", "probe"] as const)("says that trigger %s closes nothing", (trigger) => {
    const life = new Life(suspended).run().on("emergency", { trigger });
    expect(life.state.kind).toBe("running");
    expect(life.effects).toMatchObject([{ kind: "note", level: "alert" }]);
  });

  test.each(["operator", "environment"] as const)("closes by order of %s", (trigger) => {
    const life = new Life(suspended).run().on("emergency", { trigger });
    expect(life.state).toMatchObject({ kind: "stopping", after: { kind: "recover", trigger } });
  });

  test("lets the slow rounds of an earlier incident wait, and goes on with those that a person asked for", () => {
    const waits = under(
      new Life({ emergency })
        .run()
        .on("emergency", { trigger: "file" })
        .on("gone")
        .on("actionEnded", { outcome: "residual" }),
      suspended,
    );
    expect(waits.fire("retry").state.kind).toBe("locked");
    expect(waits.delay("retry")).toBe(CLOSE_RETRY_MS);
    const goesOn = new Life(suspended).run().on("emergency").on("gone").on("actionEnded", { outcome: "residual" });
    expect(goesOn.fire("retry").state.kind).toBe("recovering");
  });

  test("leaves an emergency that is under way alone", () => {
    const life = under(new Life({ emergency }).run().on("emergency", { trigger: "file" }), suspended);
    expect(life.on("gone").state).toMatchObject({ kind: "recovering", trigger: "file" });
  });

  test("is nothing that a bot without an emergency section knows", () => {
    const { policy, state } = new Life({ emergency: undefined }).run();
    expect(step(policy, state, { kind: "stop", atMs: 0 }).state.kind).toBe("stopping");
  });
});
