/** Every line of docs/any-language.md does what the page says, run by a bot that is a shell script under the compiled binary. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Rig, until } from "./harness.ts";

const PAGE = readFileSync(join(import.meta.dirname, "..", "..", "docs", "any-language.md"), "utf8");
const tools = ["systemd-notify", "curl", "timeout"].every((name) => Bun.which(name) !== null);

function linesOf(language: string): readonly string[] {
  const blocks = [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))];
  return blocks.flatMap(([, block = ""]) => block.trim().split("\n"));
}

/** A bot that runs the lines one after the other, in one shell; of each it notes how it ended. */
function shellBot(lines: readonly string[]): string {
  const told = lines.map((line, n) => `${line}\necho "${n} $?" >> codes`);
  return `exec 2>> errors\n${told.join("\n")}\necho "$level $may_open" > asked\nexec sleep 600\n`;
}

test.runIf(tools).concurrent("the lines for a shell: heard, asked and recorded, none of them in vain", async () => {
  const lines = linesOf("sh");
  expect(lines.length).toBeGreaterThan(10);
  await using rig = new Rig();
  rig.write("bot.sh", shellBot(lines));
  const probes = [
    { kind: "heartbeat", timeout: "600s" },
    { kind: "progress", timeout: "600s" },
  ];
  const http = { listen: "127.0.0.1:0" };
  rig.configure({ bot: { command: ["sh", "bot.sh"], cwd: rig.folder, ready: "notify", probes } }, { http });
  await rig.run();
  await until("every line has run", () => existsSync(rig.path("asked")));

  expect(rig.read("errors")).toBe("");
  expect(rig.read("codes")).toBe(lines.map((_, n) => `${n} 0\n`).join(""));
  expect(rig.read("asked")).toBe("normal yes\n");
  const bot = await rig.botUntil(
    "its last words were heard",
    ({ heartbeat }) => heartbeat?.status === "3 positions open",
  );
  expect(bot).toMatchObject({ ready: true, health: "healthy" });
  expect((await rig.cli("events", "--bot", "bot")).out).toContain("the venue is slow");
  expect((await rig.cli("logs", "bot")).out).toContain('{"level":"normal"}');
  const { out } = await rig.cli("blackbox", "tail", "bot");
  expect(out).toMatch(/order\.sent.*sv-3f9a/);
  expect(out).toMatch(/feed\.gap.*4/);

  const base =
    rig.journal.flatMap(({ text }) => /^http listens on http:\/\/(.*)\/$/.exec(text)?.[1] ?? []).at(-1) ?? "";
  const outside = linesOf("bash").map((line) =>
    line.replace("127.0.0.1:8001", base).replace("/run/tradingbot/control.sock", rig.state("run/control.sock")),
  );
  expect(outside).toHaveLength(4);
  for (const line of outside)
    expect({ line, code: Bun.spawnSync(["sh", "-c", line], { stdout: "ignore", stderr: "ignore" }).exitCode }).toEqual({
      line,
      code: 0,
    });
});
