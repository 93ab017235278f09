/** The paper exchange as a process of its own. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ccxtFor, CREDENTIALS } from "./paper.ts";

const RUN = `import { runPaperExchange } from ${JSON.stringify(join(import.meta.dirname, "../../src/demo/exchange/main.ts"))};
await runPaperExchange(process.env);`;

function startProcess(env: Record<string, string>): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const child = Bun.spawn([process.execPath, "-e", RUN], { env, stdout: "pipe", stderr: "pipe" });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
  return child;
}

test("runPaperExchange() prints its address, serves, and ends on SIGTERM", async () => {
  const env = { PAPER_KEY: CREDENTIALS.apiKey, PAPER_SECRET: CREDENTIALS.apiSecret, PAPER_SYMBOLS: "1" };
  const child = startProcess(env);
  const { value } = await child.stdout.getReader().read();
  const [, url] = /^paper exchange on (http:\/\/127\.0\.0\.1:\d+)\n/.exec(new TextDecoder().decode(value)) ?? [];
  expect(await ccxtFor(url ?? "").fetchPositions()).toEqual([]);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("runPaperExchange() speaks as the exchange that PAPER_EXCHANGE names", async () => {
  const child = startProcess({ PAPER_KEY: "k", PAPER_SECRET: "s", PAPER_EXCHANGE: "okx" });
  const { value } = await child.stdout.getReader().read();
  const [, url = ""] = /^paper exchange on (\S+)\n/.exec(new TextDecoder().decode(value)) ?? [];
  expect(await (await fetch(`${url}/api/v5/public/time`)).json()).toMatchObject({ code: "0", data: [{}] });
  const wrong = startProcess({ PAPER_KEY: "k", PAPER_SECRET: "s", PAPER_EXCHANGE: "kraken" });
  expect(await new Response(wrong.stderr).text()).toContain("PAPER_EXCHANGE is kraken, must be binance or okx");
});

test("runPaperExchange() refuses settings that are missing or no number", async () => {
  const missing = startProcess({ PAPER_KEY: "k" });
  const wrong = startProcess({ PAPER_KEY: "k", PAPER_SECRET: "s", PAPER_PORT: "any" });
  expect(await new Response(missing.stderr).text()).toContain(
    "cannot start the paper exchange: PAPER_SECRET is not set",
  );
  expect(await new Response(wrong.stderr).text()).toContain("PAPER_PORT is any, not a whole number");
  expect(await Promise.all([missing.exited, wrong.exited])).toEqual([1, 1]);
});
