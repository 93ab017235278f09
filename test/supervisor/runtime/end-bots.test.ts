/** How long the daemon waits at its end for a bot that it has asked to stop. */
import { expect, test } from "vitest";
import { initialState } from "../../../src/core/lifecycle.ts";
import { stopBot } from "../../../src/supervisor/runtime/end-bots.ts";
import { Loop } from "../../../src/supervisor/runtime/loop.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import { basePolicy } from "../../core/lifecycle-life.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const SECOND = 1_000;

test("stopBot() waits for a bot whose hooks take their time, and which asks for all the time that it may have", async () => {
  const clock = new FakeClock();
  const pulse = new Pulse(clock);
  pulse.start();
  const policy = { ...basePolicy, stopTimeout: 10 * SECOND, hooks: { preStop: true, postStop: true } };
  const deps = { clock, pulse, random: () => 0, record: () => {}, perform: () => {}, onBug: () => {} };
  const loop = new Loop(policy, deps, initialState);
  loop.post({ kind: "start" });
  const { generation } = loop.state;
  loop.post({ kind: "spawned", generation });
  const seen: string[] = [];
  const ended = stopBot({ loop, plan: { policy } }).then(() => seen.push(loop.state.kind));
  for (let second = 0; loop.state.kind === "stopping" && second < 200; second += 1) {
    loop.post({ kind: "extend", generation, extendMs: 60 * SECOND });
    if (loop.state.phase === "kill") loop.post({ kind: "gone", generation });
    clock.advance(SECOND);
    // Whoever has waited long enough goes on here.
    await Promise.resolve();
    await Promise.resolve();
  }
  await ended;
  expect(seen).toEqual(["stopped"]);
});
