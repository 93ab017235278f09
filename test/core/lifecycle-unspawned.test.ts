/** A start that came to no process: what the machine lacked, or who had the account, is still so in the next moment. */
import { expect, test } from "vitest";
import { Life, S } from "./lifecycle-life.ts";

const AT_ONCE = { base: 0, factor: 1, cap: 0, jitter: 0 };

test.each([false, true])(
  "a start that came to no process is not tried again in the same moment, whatever the backoff is (waits: %s)",
  (waits) => {
    const life = new Life({ backoff: AT_ONCE }).on("start").on("spawnFailed", { waits }).on("gone");
    expect(life.effects).toContainEqual({ kind: "setTimer", timer: "backoff", delayMs: 1 * S });
    const ended = life.fire("backoff").on("spawned").on("exited").on("gone");
    expect(ended.effects).toContainEqual({ kind: "setTimer", timer: "backoff", delayMs: 0 });
  },
);
