/** Where the files of a bot are. */
import { expect, test } from "vitest";
import { accountFileName } from "../../../src/supervisor/runtime/bot-plan.ts";

test("accountFileName() keeps a plain account, and encodes what a file name may not hold", () => {
  expect(accountFileName("binance-main")).toBe("binance-main");
  expect(accountFileName("a/b")).toBe("a%2Fb");
});

test("accountFileName() gives each account of the longest length, of whatever letters, a name of its own that a file can have", () => {
  const accounts = ["1", "2"].map((last) => "\u8d26".repeat(63) + last);
  const names = accounts.map((account) => accountFileName(account));
  expect(new Set(names).size).toBe(2);
  for (const name of names) expect(`.${name}.watch.json.4194304.tmp`.length).toBeLessThanOrEqual(255);
});

test("accountFileName() keeps every name that has worked in whole, by which an older release holds its lock", () => {
  const account = `${"\u8d26".repeat(25)}12345`;
  expect(accountFileName(account)).toBe(encodeURIComponent(account));
  expect(accountFileName(account)).toHaveLength(230);
});

test("accountFileName() has a name also for half a letter", () => {
  expect(accountFileName("\ud800")).toBe("%EF%BF%BD");
});
