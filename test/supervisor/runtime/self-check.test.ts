/** What a version says of an installation that it could take over. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { selfCheck } from "../../../src/supervisor/runtime/self-check.ts";

test("selfCheck() tells each bot's account, and what the machine lacks for one of them", () => {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  try {
    const bots = {
      bot: { command: ["true"], account: "main" },
      lost: { command: ["true"], cwd: join(dir, "nowhere") },
    };
    writeFileSync(join(dir, "supervisor.yaml"), JSON.stringify({ version: 1, bots }));
    const report = selfCheck({ file: undefined, env: {}, cwd: dir }, "1.2.3");
    expect(report.bots).toMatchObject({ bot: { account: "main" }, lost: { account: "lost", verdict: "end" } });
    expect(report.bots["bot"]).not.toHaveProperty("lacks");
    expect(report.bots["lost"]?.lacks).toContain("bots.lost.cwd: ");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
