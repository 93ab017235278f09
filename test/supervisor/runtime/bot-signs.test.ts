/** The level file as a bot sees it: its word, and that somebody stands behind it. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { filesOf } from "../../../src/supervisor/runtime/bot-plan.ts";
import { BotSigns } from "../../../src/supervisor/runtime/bot-signs.ts";

let folder: string;
const trouble: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "signs-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

function signs(): { readonly made: BotSigns; readonly level: string } {
  const level = join(folder, "level");
  const files = { ...filesOf("x", "x", { stateDir: folder, runtimeDir: folder, logDir: folder }), level };
  return { made: new BotSigns(files, (text) => void trouble.push(text)), level };
}

test("touch() gives the level file a new time and leaves its word", () => {
  const { made, level } = signs();
  made.demand("degraded");
  made.touch(new Date(1_000_000));
  expect([statSync(level).mtimeMs, readFileSync(level, "utf8")]).toEqual([1_000_000, "degraded\n"]);
});

test("touch() of a file that is gone is no trouble", () => {
  const { made } = signs();
  made.touch(new Date());
  expect(trouble).toEqual([]);
});
