/** What becomes of a bot that is adopted before it was known to be ready. */
import { expect, test } from "vitest";
import { Life } from "./lifecycle-life.ts";

test("step() counts an adopted bot as ready at the end of startTimeout where its READY=1 may have come while no supervisor listened", () => {
  const life = new Life({ ready: "notify" }).on("adopted", { ready: false }).on("elapsed", { timer: "start" });
  expect(life.state).toMatchObject({ kind: "running", generation: 0, attempt: 0 });
  expect(life.effects).toContainEqual(expect.objectContaining({ kind: "note", level: "warn" }));
  const spawned = new Life({ ready: "notify" }).on("start").on("spawned").on("elapsed", { timer: "start" });
  expect(spawned.state).toMatchObject({ kind: "stopping", lastExit: { cause: "startTimeout" } });
  const probed = new Life({ ready: "probe" }).on("adopted", { ready: false }).on("elapsed", { timer: "start" });
  expect(probed.state.kind).toBe("stopping");
});
