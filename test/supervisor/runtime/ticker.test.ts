import { expect, test } from "vitest";
import { Ticker } from "../../../src/supervisor/runtime/ticker.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

test("Ticker.start() does every duty each second, also after one that throws, until it is stopped", () => {
  const clock = new FakeClock();
  const done: string[] = [];
  const ticker = new Ticker({
    clock,
    duties: (tick) => [
      () => {
        throw new Error(`bug ${tick}`);
      },
      () => void done.push(`duty ${tick}`),
      () => void (tick === 3 && ticker.stop()),
    ],
    onError: (error) => void done.push(String(error)),
  });
  ticker.start();
  clock.advance(10_000);
  expect(done).toEqual([1, 2, 3].flatMap((tick) => [`Error: bug ${tick}`, `duty ${tick}`]));
});
