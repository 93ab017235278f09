import fc from "fast-check";
import { expect, test } from "vitest";
import { isOpenVariable, redactor, secretValues } from "../../src/core/redact.ts";

test("redactor() leaves no known secret in any text, however it is written there", () => {
  const word = fc
    .string({ minLength: 6, maxLength: 40, unit: "grapheme-ascii" })
    .filter((text) => text.trim().length >= 6 && !/^\*+$/.test(text.trim()));
  const around = fc.string({ maxLength: 20 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), around, around, (secrets, before, after) => {
      const redact = redactor(secrets);
      const clean = secrets.map((secret) => secret.trim());
      const text = clean
        .map((secret) => `${before}|${secret}|${JSON.stringify({ secret })}|${encodeURIComponent(secret)}|${after}`)
        .join("\n");
      const { text: result, count } = redact(text);
      expect(count).toBeGreaterThan(0);
      const told = clean.filter((secret) => !before.includes(secret) && !after.includes(secret));
      expect(told.filter((secret) => result.includes(`|${secret}|`))).toEqual([]);
    }),
  );
});

test("redactor() finds a known secret in base64, whatever stands before it", () => {
  const redact = redactor(["correct horse battery staple"]);
  for (const before of ["", "u", "us", "use", "user:"]) {
    const { text, count } = redact(`Basic ${btoa(`${before}correct horse battery staple`)}`);
    expect(count).toBe(1);
    expect(atob(/Basic (\w*)/.exec(text)?.[1]?.slice(0, 4) ?? "")).not.toContain("corre");
  }
});

test.each([
  ["postgres://bot:hunter22@db/x", "postgres://***@db/x"],
  ["Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"],
  ["run --api-key=k123 --verbose", "run --api-key=*** --verbose"],
  ["run --db-password hunter2", "run --db-password ***"],
  [`{"apiSecret":"0123456789abcdef0123"}`, `{"apiSecret":"***"}`],
  ["x -----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- y", "x *** y"],
  ["jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl!", "jwt ***!"],
])("redactor() takes what looks like a secret out of %j", (text, clean) => {
  expect(redactor([])(text)).toEqual({ text: clean, count: 1 });
});

test("redactor() leaves ordinary text and short words alone", () => {
  const text = "order 123 filled at 60123.5, key levels: 1, 2; token count 5";
  expect(redactor(["1", "abc"])(text)).toEqual({ text, count: 0 });
});

test("secretValues() takes what may be a secret by its name or length, and never what everybody may know", () => {
  const environment = {
    PATH: "/usr/bin:/bin:/usr/local/bin",
    SUPERVISOR_BOT: "a-long-name-of-a-bot",
    LOG_LEVEL: "info",
    API_KEY: "k1",
    OTHER: "0123456789ab",
  };
  expect(secretValues(environment)).toEqual(["k1", "0123456789ab"]);
  expect(isOpenVariable("AWS_SECRET_ACCESS_KEY")).toBe(false);
});
