import { expect, test } from "vitest";
import { readingFiles } from "../../../src/supervisor/cli/place.ts";

function failing(code: string, path?: string): () => never {
  return () => {
    throw Object.assign(new Error(`${code}: something raw`), { code, ...(path === undefined ? {} : { path }) });
  };
}

test("readingFiles() names the file that this user may not read, and who may", () => {
  const expected = { exitCode: 1, message: "cannot read the events: permission denied: /s/journal/1.ndjson" };
  expect(() => readingFiles("the events", "/s/journal", failing("EACCES", "/s/journal/1.ndjson"))).toThrow(
    expect.objectContaining({ ...expected, hint: expect.stringContaining("as root") }),
  );
  expect(() => readingFiles("the events", "/s/journal", failing("EPERM"))).toThrow(
    "cannot read the events: permission denied: /s/journal",
  );
});

test("readingFiles() hands on what was read, and every other error as it is", () => {
  expect(readingFiles("x", "/x", () => 3)).toBe(3);
  expect(() => readingFiles("x", "/x", failing("EIO"))).toThrow("EIO: something raw");
});
