import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FolderWatch } from "../../../src/supervisor/runtime/folder-watch.ts";

function full(): never {
  throw new Error("no space left on device");
}

test("FolderWatch keeps each bot's lockout in the folder that it begins, also where the signs of one cannot be given there", () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-folder-"));
  const at = (name: string): string => join(folder, name);
  const said: string[] = [];
  const kept: string[] = [];
  const bot = (name: string, renewSigns: () => void) => ({
    renewSigns,
    emergency: { lockout: { renew: () => void kept.push(name) } },
  });
  const watch = new FolderWatch({
    dirs: { stateDir: at("state"), runtimeDir: at("state/run"), logDir: at("state/log") },
    inherited: undefined,
    journal: () => ({ close: () => {} }),
    bots: () => [bot("one", full), bot("two", () => {})],
    say: (_level, text) => void said.push(text),
  });
  try {
    expect(watch.look()).toBe(false);
    renameSync(at("state"), at("moved"));
    expect(watch.look()).toBe(true);
    expect(kept).toEqual(["one", "two"]);
    expect(said).toContain("no space left on device");
    expect(watch.look()).toBe(false);
  } finally {
    watch.release();
    rmSync(folder, { recursive: true });
  }
});
