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
    onOver: () => {},
  });
  ticker.start();
  clock.advance(10_000);
  expect(done).toEqual([1, 2, 3].flatMap((tick) => [`Error: bug ${tick}`, `duty ${tick}`]));
});

test("Ticker tells a failure that lasts once, and that it is over, and then anew", () => {
  const clock = new FakeClock();
  const said: string[] = [];
  let broken = true;
  const ticker = new Ticker({
    clock,
    duties: () => [
      () => {
        if (broken) throw new Error("no descriptor left");
      },
    ],
    onError: (error) => void said.push(String(error)),
    onOver: (message) => void said.push(`over: ${message}`),
  });
  ticker.start();
  clock.advance(60_000);
  expect(said).toEqual(["Error: no descriptor left"]);
  broken = false;
  // Less than it takes to be over.
  clock.advance(5_000);
  broken = true;
  clock.advance(60_000);
  expect(said).toEqual(["Error: no descriptor left"]);
  broken = false;
  clock.advance(60_000);
  expect(said).toEqual(["Error: no descriptor left", "over: no descriptor left"]);
  broken = true;
  clock.advance(1_000);
  expect(said).toHaveLength(3);
  ticker.stop();
});
