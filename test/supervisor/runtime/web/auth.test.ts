import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { authorizer } from "../../../../src/supervisor/runtime/web/auth.ts";

const dir = mkdtempSync(join(tmpdir(), "auth-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function authFor(password: string): ReturnType<typeof authorizer> {
  const passwordFile = join(dir, "password");
  writeFileSync(passwordFile, password);
  return authorizer({ username: "ops", passwordFile });
}

const basic = (credentials: string): string => `Basic ${Buffer.from(credentials).toString("base64")}`;

describe("authorizer()", () => {
  test("lets the user in with the file's word, without the line break at its end", () => {
    const authorize = authFor("s3cret:ü\n");
    expect(authorize(basic("ops:s3cret:ü"))).toBe(true);
    expect(authorize(basic("ops:s3cret:ü").replace("Basic", "basic"))).toBe(true);
  });

  test.each([
    ["no header", null],
    ["an empty header", ""],
    ["another scheme", "Bearer s3cret"],
    ["a wrong password", basic("ops:s3cre")],
    ["a longer password", basic("ops:s3crett")],
    ["no password", basic("ops:")],
    ["another user", basic("root:s3cret")],
    ["no colon", basic("opss3cret")],
    ["the words without base64", "Basic ops:s3cret"],
    ["nothing after the scheme", "Basic "],
    ["base64 of nothing", "Basic ===="],
  ])("keeps out %s", (_, header) => {
    expect(authFor("s3cret")(header)).toBe(false);
  });

  test("asks nobody without a section", () => {
    expect(authorizer(undefined)(null)).toBe(true);
  });

  test("refuses to begin with an empty password, with none, and with a file too large to be one", () => {
    expect(() => authFor(" \n")).toThrow(/^cannot read a password from .*: it is not there or empty$/);
    const lost = { username: "ops", passwordFile: join(dir, "lost") };
    expect(() => authorizer(lost)).toThrow(/^cannot read a password from .*lost/);
    expect(() => authFor("x".repeat(65_537))).toThrow(/larger than 65536 bytes/);
  });
});
