/** Closes that do not go by ccxt alone: a program, an address, and a hook beside ccxt, on the binary as a user starts it. */
import { createHmac } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { CREDENTIALS, emergencyAt, Rig } from "./harness.ts";
import { startPaper, type Paper } from "./paper.ts";

const HOOK = join(import.meta.dirname, "../../config/hooks/binance-usdm.py");
const PYTHON = ["/usr/bin/python3", "/usr/local/bin/python3"].find((path) => existsSync(path)) ?? "";
const missing = PYTHON === "" ? " (skipped: there is no python3)" : "";
const SECRET = "secret-of-the-webhook";

function hookEnv({ url }: Paper): Record<string, string> {
  return { EXCHANGE_URL: url, EXCHANGE_KEY: CREDENTIALS.apiKey, EXCHANGE_SECRET: CREDENTIALS.apiSecret };
}

const EXEC = { command: [PYTHON, HOOK], passEnv: ["EXCHANGE_URL", "EXCHANGE_KEY", "EXCHANGE_SECRET"] };

/** An address that hands each request with a good signature to the same program. */
function serveHook(paper: Paper): { readonly url: string; readonly stop: () => Promise<void> } {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const body = await request.text();
      const time = request.headers.get("x-supervisor-timestamp") ?? "";
      const signature = `v1=${createHmac("sha256", SECRET).update(`${time}.${body}`).digest("hex")}`;
      if (request.headers.get("x-supervisor-signature") !== signature) return new Response(null, { status: 403 });
      const hook = Bun.spawn([PYTHON, HOOK], { env: hookEnv(paper), stdio: [Buffer.from(body), "pipe", "ignore"] });
      const answer = await new Response(hook.stdout).text();
      return new Response(answer, { status: (await hook.exited) === 0 ? 200 : 500 });
    },
  });
  return { url: server.url.href, stop: () => server.stop(true) };
}

async function closeAndCheck(rig: Rig, paper: Paper): Promise<string> {
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close).toMatchObject({ code: 0, err: "" });
  expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { state: "flat" } });
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  expect(JSON.stringify(rig.journal)).not.toContain(SECRET);
  return close.out;
}

test
  .skipIf(PYTHON === "")
  .concurrent(`driver exec plans, closes and proves with a program of the user's${missing}`, async () => {
    await using paper = await startPaper();
    const emergency = { driver: "exec", ...EXEC, closeAfter: "60s", timeout: "30s" };
    await using rig = new Rig({ bots: { bot: { command: STAY, emergency } }, env: hookEnv(paper) });
    await rig.run();
    await rig.botIn("running");
    expect((await rig.cli("emergency", "plan", "bot")).code).toBe(20);
    expect(paper.state().fills).toEqual([]);
    await closeAndCheck(rig, paper);
  });

test.skipIf(PYTHON === "").concurrent(`driver webhook closes and proves by signed requests${missing}`, async () => {
  await using paper = await startPaper();
  const hook = serveHook(paper);
  const emergency = { driver: "webhook", url: hook.url, secretFile: "hook.secret", closeAfter: "60s", timeout: "30s" };
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency } } });
  rig.write("hook.secret", `${SECRET}\n`);
  await rig.run();
  await rig.botIn("running");
  expect(await closeAndCheck(rig, paper)).toContain("flat");
  await hook.stop();
});

test
  .skipIf(PYTHON === "")
  .concurrent(`a hook beside ccxt closes the account whose key the venue refuses${missing}`, async () => {
    await using paper = await startPaper();
    const emergency = emergencyAt(paper.url, { hook: EXEC, apiKeyFile: "old.key" });
    await using rig = new Rig({ bots: { bot: { command: STAY, emergency } }, env: hookEnv(paper) });
    rig.write("old.key", "a key that the venue has forgotten");
    await rig.run();
    await rig.botIn("running");
    const preflight = await rig.cli("emergency", "preflight", "bot");
    expect(preflight.code).toBe(13);
    expect(preflight.out).toMatch(/hook +ok +the exec hook answers/);
    expect(await closeAndCheck(rig, paper)).toContain("the hook closed, since binanceusdm did not");
  });
