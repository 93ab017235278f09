/** Time in which the supervisor itself stood still moves every deadline. */
import { expect, test } from "vitest";
import { initialState } from "../../../src/core/lifecycle.ts";
import { Loop } from "../../../src/supervisor/runtime/loop.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import { basePolicy } from "../../core/lifecycle-life.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

function rig() {
  const clock = new FakeClock();
  const pulse = new Pulse(clock);
  pulse.start();
  const loop = new Loop(
    { ...basePolicy, ready: "notify", startTimeout: 8_000 },
    { clock, pulse, random: () => 0, record: () => {}, perform: () => {}, onBug: () => {} },
    initialState,
  );
  return { clock, loop };
}

test("Loop lets a deadline pass that comes up while the daemon runs", () => {
  const { clock, loop } = rig();
  loop.post({ kind: "start" });
  clock.advance(8_001);
  expect(loop.state.kind).toBe("stopping");
});

test("Loop moves a deadline by the time in which the daemon stood still", () => {
  const { clock, loop } = rig();
  loop.post({ kind: "start" });
  clock.advance(2_000);
  clock.stall(60_000);
  clock.advance(5_000);
  expect(loop.state.kind).toBe("starting");
  clock.advance(2_000);
  expect(loop.state.kind).toBe("stopping");
});

test("Loop leaves a deadline alone that the first event after a standstill sets, before the pulse could beat", () => {
  const { clock, loop } = rig();
  loop.post({ kind: "start" });
  loop.post({ kind: "ready", generation: 1 });
  // The order waits in the control socket and is read before any timer runs, as happens to a resumed process.
  clock.wake(20_000);
  loop.post({ kind: "stop" });
  clock.advance(basePolicy.stopTimeout);
  expect(loop.state).toMatchObject({ kind: "stopping", phase: "kill" });
});
