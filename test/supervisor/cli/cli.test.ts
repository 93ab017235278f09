/** What a command does whose reader goes away; as processes, since only a pipe breaks like a pipe. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { statusOf } from "../../harness/status-sample.ts";
import { VerbRig } from "./verb-rig.ts";

const MAIN = join(import.meta.dirname, "../../../src/supervisor/main.ts");
/** More than any pipe holds, so that the writer meets the broken end. */
const LINES = 20_000;

/** Exit code and standard error of the command whose reader takes `bytes` bytes and goes away. */
async function readLittle(
  rig: VerbRig,
  args: readonly string[],
  bytes: number,
): Promise<{ code: number; err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    cwd: rig.dir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const reader = child.stdout.getReader();
  for (let read = 0; read < bytes; read += (await reader.read()).value?.length ?? bytes);
  await reader.cancel();
  // For who follows: something new to show, again and again until it has met the broken end.
  const grow = setInterval(() => appendFileSync(join(rig.dir, ".supervisor/log/mine.log"), "more\n"), 50);
  const [code, err] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  clearInterval(grow);
  return { code, err };
}

test.concurrent.each([
  [["events", "-n", String(LINES)]],
  [["logs", "mine", "-n", String(LINES)]],
  [["logs", "mine", "-n", "1", "-f"]],
  [["status", "--watch"]],
])("supervisor %j ends silently with 0 when its reader goes away", async (args) => {
  await using rig = new VerbRig();
  const event = { v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "fact", bot: "mine", level: "info", text: "x" };
  rig.write(".supervisor/journal/000001.ndjson", `${JSON.stringify(event)}\n`.repeat(LINES));
  rig.write(".supervisor/log/mine.log", "some output of the bot\n".repeat(LINES));
  rig.write(".supervisor/status.json", JSON.stringify(statusOf()));
  expect(await readLittle(rig, args, 1)).toEqual({ code: 0, err: "" });
});
