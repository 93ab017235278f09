import { join } from "node:path";
import { expect, test } from "vitest";

const ALARM = join(import.meta.dirname, "../../src/platform/alarm.ts");

test("endWithin() ends a process that waits for a read without end", async () => {
  const program = `import { endWithin } from ${JSON.stringify(ALARM)};
    import { readSync } from "node:fs";
    endWithin(1);
    readSync(0, new Uint8Array(1));`;
  // Its standard input stays open and silent.
  const child = Bun.spawn([process.execPath, "-e", program], { stdio: ["pipe", "ignore", "ignore"], timeout: 20_000 });
  await child.exited;
  expect(child.signalCode).toBe("SIGALRM");
});
