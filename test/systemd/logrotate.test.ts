/** The shipped logrotate file against the real logrotate and a writer that appends all the while. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const shipped = join(import.meta.dirname, "..", "..", "config", "logrotate", "tradingbot");
const program = Bun.which("logrotate", { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
/** Longest wait for the writer's next line, ms. */
const PATIENCE_MS = 10_000;

test.skipIf(program === null)(
  `logrotate cuts a log in place, and the bot goes on at its new end${program === null ? " (logrotate is not installed)" : ""}`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sv-rotate-"));
    const log = join(folder, "bot.log");
    const config = join(folder, "logrotate.conf");
    writeFileSync(config, readFileSync(shipped, "utf8").replace("/var/log/tradingbot/", `${folder}/`), { mode: 0o644 });
    await using writer = Bun.spawn(["sh", "-c", 'while :; do echo "a line of the bot"; sleep 0.01; done >> "$0"', log]);
    await lines(log, 20);
    const rotation = Bun.spawnSync([program ?? "", "--force", "--state", join(folder, "state"), config]);
    expect({ code: rotation.exitCode, err: rotation.stderr.toString() }).toEqual({ code: 0, err: "" });
    await lines(log, 5);
    writer.kill();
    await writer.exited;
    const [packed = ""] = readdirSync(folder).filter((name) => name.endsWith(".gz"));
    const old = Buffer.from(Bun.gunzipSync(readFileSync(join(folder, packed)))).toString();
    for (const text of [old, readFileSync(log, "utf8")])
      expect(new Set(text.split("\n").filter(Boolean))).toEqual(new Set(["a line of the bot"]));
    // A hole would be there if the bot went on at its old place.
    expect(statSync(log).size).toBe(readFileSync(log, "utf8").replaceAll("\0", "").length);
    rmSync(folder, { recursive: true });
  },
);

/** Waits until the file holds so many lines. */
async function lines(path: string, count: number): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < count * 18) {
    if (performance.now() > endMs) throw new Error(`${path}: no ${count} lines within ${PATIENCE_MS} ms`);
    await Bun.sleep(10);
  }
}
