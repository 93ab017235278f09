import { expect, test } from "vitest";
import { plainJson, plainText } from "../../src/core/plain-text.ts";

test.each([
  ["a line break", "a\nb", "a b"],
  ["a carriage return", "a\rb", "a b"],
  ["an escape sequence", "\u001B[2Ja", " [2Ja"],
  ["a C1 control sequence introducer", "\u009B2Ja", " 2Ja"],
  ["DEL and NUL", "\u007F\u0000", "  "],
  ["Unicode's line breaks", "a\u2028b\u2029c", "a b c"],
])("plainText() blanks %s", (_, text, plain) => {
  expect(plainText(text)).toBe(plain);
});

test("plainText() leaves every printable character as it is", () => {
  const text = "äé → ‼ 日本 🤖 ~";
  expect(plainText(text)).toBe(text);
});

test("plainJson() holds no control character and parses to the same value", () => {
  const value = { text: "a\u007F\u009B\u2028\n\u001B" };
  const json = plainJson(value);
  expect(json).toBe(String.raw`{"text":"a\u007f\u009b\u2028\n\u001b"}`);
  expect(JSON.parse(json)).toEqual(value);
});
