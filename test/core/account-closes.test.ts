/** What a bot is told of the closes of its account. */
import { expect, test } from "vitest";
import { closeThatTook, goneBetween, readCloses, withClose, type AccountClose } from "../../src/core/account-closes.ts";

const LONG = { symbol: "BTC/USDT:USDT", side: "long", amount: 0.3 } as const;

const ENDED_AT = 61_000;

function close(incident: string, more: Partial<AccountClose> = {}): AccountClose {
  const times = { startedAt: 1_000, endedAt: ENDED_AT };
  return { incident, trigger: "operator", ...times, outcome: "flat", positions: [LONG], ...more };
}

test("withClose() keeps the newest eight, and one entry of each incident", () => {
  let text: string | undefined;
  for (let n = 0; n < 12; n += 1) text = withClose(text, close(`i${n}`));
  text = withClose(text, close("i7", { outcome: "residual" }));
  const incidents = readCloses(text).map(({ incident, outcome }) => `${incident} ${outcome}`);
  expect(incidents).toEqual([
    "i4 flat",
    "i5 flat",
    "i6 flat",
    "i8 flat",
    "i9 flat",
    "i10 flat",
    "i11 flat",
    "i7 residual",
  ]);
});

test.each(["", "{", "[]", "null", '{"version":2,"closes":[]}', '{"version":1,"closes":[{"incident":1}, 5]}'])(
  "readCloses() knows nothing from %j",
  (text) => {
    expect(readCloses(text)).toEqual([]);
  },
);

test("goneBetween() is what is left of the difference, and nothing where a reading is missing", () => {
  const short = { symbol: "ETH/USDT:USDT", side: "short", amount: 2 } as const;
  expect(goneBetween([LONG, short], [{ ...short, amount: 0.5 }])).toEqual([LONG, { ...short, amount: 1.5 }]);
  expect(goneBetween([short], [short])).toEqual([]);
  expect([goneBetween(undefined, []), goneBetween([LONG], undefined)]).toEqual([[], []]);
});

test("closeThatTook() blames no close for what it did not take, and none that ended before the position was changed", () => {
  const closes = [close("old"), close("new")];
  expect(closeThatTook(closes, LONG, ENDED_AT)?.incident).toBe("new");
  expect(closeThatTook(closes, { ...LONG, amount: 0.31 }, ENDED_AT)).toBe(undefined);
  expect(closeThatTook(closes, { ...LONG, side: "short" }, ENDED_AT)).toBe(undefined);
  expect(closeThatTook(closes, LONG, ENDED_AT + 1)).toBe(undefined);
});
