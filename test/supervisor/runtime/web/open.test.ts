import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../../src/supervisor/runtime/config/load.ts";
import { openWeb, type WebDeps } from "../../../../src/supervisor/runtime/web.ts";
import { statusOf } from "../../../harness/status.ts";

const dir = mkdtempSync(join(tmpdir(), "web-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Servers of these sections, and what they said. */
function depsFor(sections: object): { deps: WebDeps; said: string[] } {
  const file = join(dir, "supervisor.yaml");
  writeFileSync(file, JSON.stringify({ version: 1, bots: { a: { command: ["x"] } }, ...sections }));
  const said: string[] = [];
  const deps: WebDeps = {
    config: loadConfig({ file, env: {} }).config,
    bots: () => ({}),
    status: () => Promise.resolve(statusOf()),
    pulseAgeMs: () => 0,
    configRead: () => ({ success: true, lastSuccessAt: new Date(0) }),
    stopping: () => false,
    say: (level, text) => said.push(`${level}: ${text}`),
  };
  return { deps, said };
}

describe("openWeb()", () => {
  test("opens nothing where the config names nothing", async () => {
    const { deps, said } = depsFor({});
    expect(await openWeb(deps)).toBeUndefined();
    expect(said).toEqual([]);
  });

  test("goes on without a taken port, says so once, and opens it on a later try", async () => {
    const taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
    const listen = `127.0.0.1:${taken.port}`;
    const { deps, said } = depsFor({ http: { listen } });
    const web = await openWeb(deps);
    web?.retry();
    expect(web?.trouble()).toBe(`cannot listen on ${listen}: another program has the port`);
    await taken.stop(true);
    web?.retry();
    expect(web?.trouble()).toBeUndefined();
    web?.retry();
    expect(said).toEqual([
      `alert: cannot listen on ${listen}: another program has the port; supervision goes on without it, and it is tried again every 10 s: end that program (ss -ltnp shows it), or write another port in http.listen of the config`,
      `info: http listens on http://${listen}/`,
    ]);
    expect((await fetch(`http://${listen}/livez`)).status).toBe(200);
    await web?.stop(true);
    await expect(fetch(`http://${listen}/livez`)).rejects.toThrow(/connect/i);
  });
});
