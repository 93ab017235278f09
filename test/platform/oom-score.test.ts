/** The kernel's choice of victims, set on a real child. */
import { expect, test } from "vitest";
import { oomScoreAdj, setOomScoreAdj, withdrawOomProtection } from "../../src/platform/oom-score.ts";

test("setOomScoreAdj() sets what oomScoreAdj() reads, and answers false for a process that is gone", async () => {
  await using child = Bun.spawn(["sleep", "60"]);
  const own = oomScoreAdj("self") ?? 0;
  expect(setOomScoreAdj(child.pid, own + 7)).toBe(true);
  expect(oomScoreAdj(child.pid)).toBe(own + 7);
  child.kill("SIGKILL");
  await child.exited;
  expect(oomScoreAdj(child.pid)).toBeUndefined();
  expect(setOomScoreAdj(child.pid, own + 7)).toBe(false);
});

test("withdrawOomProtection() leaves a child as it is when nothing protects us", async () => {
  await using child = Bun.spawn(["sleep", "60"]);
  const own = oomScoreAdj("self");
  withdrawOomProtection(child.pid);
  expect(oomScoreAdj(child.pid)).toBe(Math.max(own ?? 0, 0));
});
