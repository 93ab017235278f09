/** What people are told of processes that have no pid where they look. */
import { expect, test } from "vitest";
import { pidsText } from "../../src/core/pids-text.ts";

test.each([
  [[7, 8], "pid 7, 8"],
  [[7, 0], "pid 7 and a process without a pid here"],
  [[0], "a process without a pid here"],
])("pidsText() of %j never shows a 0, which somebody might kill", (pids, text) => {
  expect(pidsText(pids, "pid ")).toBe(text);
});
