/** What orders an emergency from outside: the file and the variable. */
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { EmergencyFile, readEmergencySwitch } from "../../../src/supervisor/runtime/triggers.ts";

const folder = mkdtempSync(join(tmpdir(), "triggers-"));
afterAll(() => rmSync(folder, { recursive: true }));
const ownUid = process.getuid?.() ?? 0;

describe("readEmergencySwitch()", () => {
  test.each(["true", "TRUE", "1", "yes", " Yes "])("reads %j as an order", (value) => {
    expect(readEmergencySwitch(value)).toBe(true);
  });

  test.each([undefined, "", "false", "0", "no"])("reads %j as none", (value) => {
    expect(readEmergencySwitch(value)).toBe(false);
  });

  test.each(["on", "y", "truee"])("refuses %j instead of starting a bot on a guess", (value) => {
    expect(() => readEmergencySwitch(value)).toThrow(`BOT_EMERGENCY_SHUTDOWN is "${value}"`);
  });
});

describe("EmergencyFile", () => {
  test("fires once for each appearance, and is gone when it is consumed", () => {
    const path = join(folder, "a");
    const file = new EmergencyFile(path, ownUid);
    expect(file.look()).toEqual({ fired: false, alert: undefined });
    writeFileSync(path, "", { mode: 0o600 });
    expect([file.look().fired, file.look().fired]).toEqual([true, false]);
    expect(file.consume()).toBeUndefined();
    writeFileSync(path, "", { mode: 0o600 });
    expect(file.look().fired).toBe(true);
  });

  test("refuses a link and a file that others may write to, and says so once", () => {
    const path = join(folder, "b");
    const file = new EmergencyFile(path, ownUid);
    writeFileSync(path, "");
    chmodSync(path, 0o666);
    const first = file.look();
    expect(first).toMatchObject({ fired: false, alert: expect.stringContaining("others may write") });
    expect(file.look()).toEqual({ fired: false, alert: undefined });
    rmSync(path);
    symlinkSync("/etc/hostname", path);
    expect(file.look()).toMatchObject({ fired: false, alert: expect.stringContaining("not a regular file") });
  });
});
