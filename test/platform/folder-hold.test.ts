import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { holdFolder, isHeld, whileFree } from "../../src/platform/folder-hold.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hold-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("holdFolder()", () => {
  test("is shared, and keeps the folder until the last one has let go", () => {
    const [first, second] = [holdFolder(folder), holdFolder(folder)];
    first?.();
    expect([isHeld(folder), whileFree(folder, () => rmSync(folder, { recursive: true }))]).toEqual([true, false]);
    second?.();
    expect([isHeld(folder), whileFree(folder, () => {})]).toEqual([false, true]);
  });

  test("refuses a folder that is gone, and one that is being taken away", () => {
    const held: unknown[] = [];
    whileFree(folder, () => {
      held.push(holdFolder(folder));
      renameSync(folder, `${folder}.away`);
    });
    expect([...held, holdFolder(folder)]).toEqual([undefined, undefined]);
    renameSync(`${folder}.away`, folder);
  });

  test("ends with the process that held it, however that ends", async () => {
    const code = `const { holdFolder } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/platform/folder-hold.ts"))});
      console.log(holdFolder(${JSON.stringify(folder)}) !== undefined); setInterval(() => {}, 1000);`;
    const holder = Bun.spawn({ cmd: [process.execPath, "-e", code], stdio: ["ignore", "pipe", "inherit"] });
    const { value } = await holder.stdout.getReader().read();
    expect([new TextDecoder().decode(value), isHeld(folder)]).toEqual(["true\n", true]);
    holder.kill("SIGKILL");
    await holder.exited;
    expect(isHeld(folder)).toBe(false);
  });
});

test("whileFree() lets go again when the deed throws", () => {
  mkdirSync(join(folder, "full"));
  expect(() => whileFree(folder, () => renameSync(join(folder, "none"), join(folder, "full")))).toThrow(/ENOENT/);
  expect(holdFolder(folder)).toBeDefined();
});
