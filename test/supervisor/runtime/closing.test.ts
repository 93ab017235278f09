/** How a close fails before its worker starts. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { planClose } from "../../../src/supervisor/runtime/planning.ts";

/** Why the plan of a bot fails whose folder `prepare` has filled. */
async function failure(prepare: (dir: string) => void, emergency: object): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  try {
    prepare(dir);
    const section = { exchange: "binanceusdm", apiKeyFile: "key", apiSecretFile: "secret", ...emergency };
    const bots = { bot: { command: ["true"], emergency: section } };
    writeFileSync(join(dir, "supervisor.yaml"), JSON.stringify({ version: 1, bots }));
    const { config, dirs } = loadConfig({ file: undefined, env: {}, cwd: dir });
    const bot = config.bots["bot"];
    if (bot === undefined) throw new Error("the config has no bot");
    const end = await planClose({ plan: planBot("bot", bot, dirs) }, { clock: systemClock, env: {} });
    return end.kind === "failed" ? end.reason.replaceAll(dir, "DIR") : end.kind;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const write = (dir: string, name: string, text: string): void => writeFileSync(join(dir, name), text);

const key = (dir: string): void => write(dir, "key", "worth nothing");

test.each([
  ["is missing", () => {}, "no such file"],
  ["is a folder", (dir: string) => mkdirSync(join(dir, "key")), "it is not a regular file"],
  ["is huge", (dir: string) => write(dir, "key", "x".repeat(20_000)), "it is larger than 16384 bytes"],
])("planClose() names file, key of the config and reason when the key file %s", async (_, prepare, why) => {
  expect(await failure(prepare, {})).toBe(`cannot read the API key from DIR/key (emergency.apiKeyFile): ${why}`);
});

test("planClose() tells the secret from the key, and a variable from a file", async () => {
  expect(await failure(key, {})).toBe(
    "cannot read the API secret from DIR/secret (emergency.apiSecretFile): no such file",
  );
  expect(await failure(key, { apiSecretFile: undefined, apiSecretEnv: "NOWHERE" })).toBe(
    "cannot read the API secret: the variable NOWHERE is not set (emergency.apiSecretEnv)",
  );
});
