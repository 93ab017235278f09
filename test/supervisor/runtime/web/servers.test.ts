/** The two servers on real sockets, with a status that the test makes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Status } from "../../../../src/core/status.ts";
import { loadConfig } from "../../../../src/supervisor/runtime/config/load.ts";
import { ListenError, shared, WebServers } from "../../../../src/supervisor/runtime/web/servers.ts";
import { botStatusOf, downBotOf, statusOf } from "../../../harness/status.ts";

const dir = mkdtempSync(join(tmpdir(), "web-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const running: WebServers[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((servers) => servers.stop(true)));
});

interface World {
  status: Status;
  pulseAgeMs: number;
  stopping: boolean;
  /** The status waits for it. */
  gate: Promise<void>;
  /** How often the status was asked for. */
  asked: number;
}

const BOTS = {
  momentum: { command: ["x"], account: "main", probes: [{ kind: "http", name: "web", url: "http://127.0.0.1:1" }] },
  manual: { command: ["x"], autostart: false },
};

/** Servers for these sections; port 0 in all of them. */
function serversFor(sections: object, more: Partial<World> = {}): { servers: WebServers; world: World } {
  const file = join(dir, "supervisor.yaml");
  writeFileSync(file, JSON.stringify({ version: 1, bots: BOTS, ...sections }));
  const { config } = loadConfig({ file, env: {} });
  const world: World = {
    status: statusOf(),
    pulseAgeMs: 10,
    stopping: false,
    gate: Promise.resolve(),
    asked: 0,
    ...more,
  };
  const servers = new WebServers({
    config,
    bots: () => config.bots,
    status: async () => {
      world.asked += 1;
      await world.gate;
      return world.status;
    },
    pulseAgeMs: () => world.pulseAgeMs,
    configRead: () => ({ success: false, lastSuccessAt: new Date(1_767_225_600_500) }),
    stopping: () => world.stopping,
  });
  running.push(servers);
  return { servers, world };
}

/** The addresses on which they listen, by section. */
function open(servers: WebServers): Record<string, string> {
  const { opened, errors } = servers.open();
  expect(errors).toEqual([]);
  return Object.fromEntries(opened.map((text) => /^(\w+) listens on (.*)\/$/.exec(text)?.slice(1) ?? []));
}

const codeOf = async (url: string): Promise<number> => (await fetch(url)).status;

const codes = (base: string | undefined, paths: readonly string[]): Promise<number[]> =>
  Promise.all(paths.map((path) => codeOf(`${base}${path}`)));

const LOCAL = { http: { listen: "127.0.0.1:0" }, metrics: { listen: "127.0.0.1:0" } };

test("WebServers answer on every path of their section and on no other", async () => {
  const { http, metrics } = open(serversFor(LOCAL).servers);
  expect(await codes(http, ["/", "/livez", "/readyz", "/health", "/metrics", "/x"])).toEqual([
    200, 200, 200, 200, 404, 404,
  ]);
  expect(await codes(metrics, ["/metrics", "/", "/health"])).toEqual([200, 404, 404]);
});

test("WebServers say on /livez when the daemon's loop does not turn", async () => {
  const { servers, world } = serversFor(LOCAL);
  const { http } = open(servers);
  expect(await (await fetch(`${http}/livez`)).text()).toBe("ok\n");
  world.pulseAgeMs = 5_001;
  const stalled = await fetch(`${http}/livez`);
  expect([stalled.status, await stalled.text()]).toEqual([503, "stalled: the last beat was 5.0 s ago\n"]);
  expect(world.asked).toBe(0);
});

test("WebServers name on /readyz the autostart bots that are not ready", async () => {
  const { servers, world } = serversFor(LOCAL);
  const { http } = open(servers);
  const answer = async (): Promise<unknown[]> => {
    const response = await fetch(`${http}/readyz`);
    return [response.status, await response.text()];
  };
  world.status = statusOf([botStatusOf(), downBotOf({ name: "manual" })]);
  expect(await answer()).toEqual([200, "ok\n"]);
  world.status = statusOf([downBotOf({ state: "backoff" }), downBotOf({ name: "manual" })]);
  expect(await answer()).toEqual([503, "not ready: momentum (backoff)\n"]);
  world.status = statusOf([]);
  expect(await answer()).toEqual([503, "not ready: momentum (starting)\n"]);
  world.stopping = true;
  expect(await answer()).toEqual([503, "not ready: the supervisor is stopping\n"]);
});

test("WebServers answer /health with the status object, 503 when a bot is locked", async () => {
  const { servers, world } = serversFor(LOCAL);
  const { http } = open(servers);
  const fine = await fetch(`${http}/health`);
  expect([fine.status, fine.headers.get("content-type"), fine.headers.get("cache-control")]).toEqual([
    200,
    "application/json",
    "no-store",
  ]);
  expect(await fine.json()).toEqual(world.status);
  world.status = statusOf([downBotOf({ state: "locked", level: "emergency" })]);
  const locked = await fetch(`${http}/health`);
  expect([locked.status, await locked.json()]).toEqual([503, world.status]);
});

test("WebServers send the page with a policy that lets it load and run nothing", async () => {
  const { http } = open(serversFor(LOCAL).servers);
  const page = await fetch(`${http}/`);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none';/);
  expect(await page.text()).toContain("<td>momentum</td>");
});

test("WebServers keep the probes of a bot that is down in /metrics", async () => {
  const { servers, world } = serversFor(LOCAL);
  const { metrics } = open(servers);
  world.status = statusOf([downBotOf({ probes: [] })]);
  const answer = await fetch(`${metrics}/metrics`);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await answer.text();
  for (const probe of ["process", "web"])
    expect(text).toContain(
      `supervisor_probe_verdict{bot="momentum",account="main",probe="${probe}",verdict="pending"} 1\n`,
    );
});

test("WebServers say in /metrics what the supervisor itself uses, and how the config was read last", async () => {
  const { metrics } = open(serversFor(LOCAL).servers);
  const text = await (await fetch(`${metrics}/metrics`)).text();
  for (const name of [
    "process_cpu_seconds_total",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
  ])
    expect(text).toMatch(new RegExp(`^${name} [0-9.]+$`, "m"));
  expect(text).toContain("supervisor_config_last_reload_success 0\n");
  expect(text).toContain("supervisor_config_last_reload_success_timestamp_seconds 1767225600.5\n");
});

test("WebServers answer HEAD without a body and refuse what would change something", async () => {
  const { http } = open(serversFor(LOCAL).servers);
  const head = await fetch(`${http}/health`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    const refused = await fetch(`${http}/health`, { method });
    expect([method, refused.status, refused.headers.get("allow")]).toEqual([method, 405, "GET, HEAD"]);
  }
});

test("WebServers refuse large headers and bodies", async () => {
  const { http } = open(serversFor(LOCAL).servers);
  expect((await fetch(`${http}/livez`, { headers: { x: "y".repeat(100_000) } })).status).toBe(431);
  expect((await fetch(`${http}/livez`, { method: "POST", body: "y".repeat(2_000) })).status).toBe(413);
});

test("WebServers let nobody in without the password, whatever the path", async () => {
  const passwordFile = join(dir, "password");
  writeFileSync(passwordFile, "s3cret\n");
  const { servers, world } = serversFor({ http: { listen: "127.0.0.1:0", auth: { username: "ops", passwordFile } } });
  const { http } = open(servers);
  for (const path of ["/", "/livez", "/readyz", "/health", "/x"]) {
    const refused = await fetch(`${http}${path}`);
    expect([path, refused.status]).toEqual([path, 401]);
    expect(refused.headers.get("www-authenticate")).toBe('Basic realm="supervisor", charset="UTF-8"');
  }
  expect(world.asked).toBe(0);
  const headers = { authorization: `Basic ${btoa("ops:s3cret")}`, host: "status.example.org" };
  expect((await fetch(`${http}/health`, { headers })).status).toBe(200);
});

test("WebServers answer without a password to addresses and localhost only, so that no web page reads them by a name of its own", async () => {
  const { http } = open(serversFor(LOCAL).servers);
  const codeFor = async (host: string): Promise<number> =>
    (await fetch(`${http}/health`, { headers: { host } })).status;
  for (const host of ["localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001", "10.0.0.1"])
    expect([host, await codeFor(host)]).toEqual([host, 200]);
  for (const host of ["evil.example", "evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example"])
    expect([host, await codeFor(host)]).toEqual([host, 421]);
});

test("shared() asks once for all who ask while it runs, and anew after that, also after a failure", async () => {
  const asked: PromiseWithResolvers<number>[] = [];
  const ask = shared(() => {
    const answer = Promise.withResolvers<number>();
    asked.push(answer);
    return answer.promise;
  });
  const both = Promise.all([ask(), ask()]);
  asked[0]?.resolve(1);
  expect(await both).toEqual([1, 1]);
  const failing = ask();
  asked[1]?.reject(new Error("no"));
  await expect(failing).rejects.toThrow("no");
  const last = ask();
  asked[2]?.resolve(3);
  expect(await last).toBe(3);
  expect(asked).toHaveLength(3);
});

test("WebServers work on 32 requests at a time and refuse more at once", async () => {
  const { promise: gate, resolve: release } = Promise.withResolvers<void>();
  const { http } = open(serversFor(LOCAL, { gate }).servers);
  const refused = Promise.withResolvers<void>();
  const codesSeen: number[] = [];
  const all = Array.from({ length: 40 }, async () => {
    codesSeen.push(await codeOf(`${http}/health`));
    if (codesSeen.length === 8) refused.resolve();
  });
  await refused.promise;
  expect(codesSeen).toEqual(Array.from({ length: 8 }, () => 503));
  release();
  await Promise.all(all);
  expect(codesSeen.slice(8)).toEqual(Array.from({ length: 32 }, () => 200));
});

test("WebServers answer 500 when the status cannot be made, and go on", async () => {
  const { servers, world } = serversFor(LOCAL);
  const { http } = open(servers);
  const good = world.status;
  Object.defineProperty(world, "status", {
    get: () => {
      throw new Error("no /proc");
    },
    configurable: true,
  });
  const failed = await fetch(`${http}/health`);
  expect([failed.status, await failed.json()]).toEqual([
    500,
    { error: { code: "internal", message: "internal error: no /proc" } },
  ]);
  Object.defineProperty(world, "status", { value: good, configurable: true });
  expect((await fetch(`${http}/health`)).status).toBe(200);
});

test("WebServers survive garbage on the port", async () => {
  const { http = "" } = open(serversFor(LOCAL).servers);
  const { port } = new URL(http);
  const ended = Promise.withResolvers<void>();
  const socket = connect(Number(port), "127.0.0.1", () => socket.end("\0\xff GET / nonsense\r\n\r\n"));
  socket.on("close", () => ended.resolve());
  socket.on("error", () => ended.resolve());
  socket.resume();
  await ended.promise;
  expect((await fetch(`${http}/livez`)).status).toBe(200);
});

describe("WebServers.open()", () => {
  test("names the address and the fix when a port is taken, opens the other, and opens it when it is free", async () => {
    const taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
    const listen = `127.0.0.1:${taken.port}`;
    const { servers } = serversFor({ ...LOCAL, http: { listen } });
    const { opened, errors } = servers.open();
    expect(opened).toEqual([expect.stringMatching(/^metrics listens on /)]);
    expect(errors).toEqual([expect.any(ListenError)]);
    expect(errors[0]).toMatchObject({
      message: `cannot listen on ${listen}: another program has the port`,
      hint: "end that program (ss -ltnp shows it), or write another port in http.listen of the config",
    });
    await taken.stop(true);
    expect(servers.open()).toEqual({ opened: [`http listens on http://${listen}/`], errors: [] });
    expect(servers.open()).toEqual({ opened: [], errors: [] });
  });

  test("names an address that the machine does not have", () => {
    const passwordFile = join(dir, "password");
    writeFileSync(passwordFile, "s3cret\n");
    const auth = { username: "ops", passwordFile };
    const { errors } = serversFor({ http: { listen: "192.0.2.1:0", auth } }).servers.open();
    expect(errors[0]?.message).toBe("cannot listen on 192.0.2.1:0: this machine has no such address");
  });

  test("opens every address by a port alone", async () => {
    const passwordFile = join(dir, "password");
    writeFileSync(passwordFile, "s3cret\n");
    const { http = "" } = open(serversFor({ http: { listen: ":0", auth: { username: "ops", passwordFile } } }).servers);
    const { port } = new URL(http);
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(401);
  });
});
