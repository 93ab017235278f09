/** The TCP servers of the compiled binary: what they answer, to whom, and what a port that cannot be had costs. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { METRICS } from "../../src/report/metrics.ts";
import { promtool } from "../harness/promtool.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";

const LOCAL = "127.0.0.1:0";
const BOTH = { http: { listen: LOCAL }, metrics: { listen: LOCAL } };

/** Where the daemon said last that a section listens, without the slash at the end. */
function baseOf(rig: Rig, section: "http" | "metrics"): string {
  const said = rig.journal.flatMap(({ text }) => new RegExp(`^${section} listens on (.*)/$`).exec(text)?.[1] ?? []);
  const last = said.at(-1);
  if (last === undefined) throw new Error(`the daemon did not say where ${section} listens`);
  return last;
}

const codeOf = async (url: string, init?: RequestInit): Promise<number> => (await fetch(url, init)).status;

test.concurrent("the daemon answers on /livez, /readyz, /health, / and /metrics, also when a bot stops", async () => {
  const slow = {
    command: ["sh", "-c", "while ! [ -e go ]; do sleep 0.05; done; systemd-notify --ready; exec sleep 600"],
  };
  await using rig = new Rig({ bots: { bot: { command: STAY }, slow: { ...slow, ready: "notify" } }, config: BOTH });
  await rig.run();
  const [http, metrics] = [baseOf(rig, "http"), baseOf(rig, "metrics")];
  await rig.botIn("running");
  const waiting = await fetch(`${http}/readyz`);
  expect([waiting.status, await waiting.text()]).toEqual([503, "not ready: slow (starting)\n"]);
  rig.write("go", "");
  await until("every bot is ready", async () => (await codeOf(`${http}/readyz`)) === 200);
  expect(await (await fetch(`${http}/livez`)).text()).toBe("ok\n");
  const health = await fetch(`${http}/health`);
  expect([health.status, await health.json()]).toMatchObject([
    200,
    { version: 1, bots: [{ name: "bot" }, { name: "slow" }] },
  ]);
  const page = await fetch(`${http}/`);
  expect(await page.text()).toContain("<td>bot</td>");

  const before = await (await fetch(`${metrics}/metrics`)).text();
  expect(before).toContain('supervisor_bot_state{bot="bot",account="bot",state="running"} 1\n');
  await rig.cli("stop", "bot");
  const after = await (await fetch(`${metrics}/metrics`)).text();
  expect(after).toContain('supervisor_bot_state{bot="bot",account="bot",state="stopped"} 1\n');
  expect(seriesOf(before).filter((series) => !seriesOf(after).includes(series))).toEqual([]);
  for (const { name } of METRICS) expect(after.split(`# TYPE ${name} `)).toHaveLength(2);
  expect(await codeOf(`${http}/readyz`)).toBe(503);
  expect(await codeOf(`${http}/health`)).toBe(200);
  expect(await codeOf(`${http}/v1/bots/bot/start`, { method: "POST" })).toBe(405);
});

test.concurrent("/metrics tells that a reload was refused, since when the config holds, and that a later one was taken over", async () => {
  const bots = { bot: { command: STAY } };
  await using rig = new Rig({ bots, config: BOTH });
  await rig.run();
  const read = async (): Promise<readonly [success: string, since: number]> => {
    const text = await (await fetch(`${baseOf(rig, "metrics")}/metrics`)).text();
    const [, success = "", since = ""] =
      /^supervisor_config_last_reload_success (\d)$[^]*^supervisor_config_last_reload_success_timestamp_seconds (\S+)$/m.exec(
        text,
      ) ?? [];
    return [success, Number(since)];
  };
  const [atStart, since] = await read();
  expect(atStart).toBe("1");
  rig.configure({ bot: { command: STAY, colour: 1 } }, BOTH);
  expect((await rig.cli("reload")).code).not.toBe(0);
  expect(await read()).toEqual(["0", since]);
  rig.configure(bots, BOTH);
  expect((await rig.cli("reload")).code).toBe(0);
  const [success, later] = await read();
  expect(success).toBe("1");
  expect(later).toBeGreaterThan(since);
});

test.concurrent("the CPU time of a bot in /metrics goes on over its death, its next start and its stop", async () => {
  const command = ["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command } }, config: BOTH });
  await rig.run();
  const used = async (): Promise<number> => {
    const text = await (await fetch(`${baseOf(rig, "metrics")}/metrics`)).text();
    return Number(/^supervisor_bot_cpu_seconds_total\{bot="bot",account="bot"\} (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
  };
  const { pid } = await rig.botIn("running");
  await until("the bot has used CPU time", async () => (await used()) >= 0.05);
  const first = await used();
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
  expect(await used()).toBeGreaterThanOrEqual(first);
  await until("its next start has used some, too", async () => (await used()) >= first + 0.05);
  const second = await used();
  await rig.cli("stop", "bot");
  expect(await used()).toBeGreaterThanOrEqual(second);
});

/** Names and labels of every sample. */
function seriesOf(text: string): string[] {
  return text.split("\n").flatMap((line) => (line === "" || line.startsWith("#") ? [] : line.replace(/ \S+$/, "")));
}

test.skipIf(promtool === undefined)(
  "promtool check metrics finds nothing in what the daemon answers (skipped where no promtool is installed)",
  async () => {
    const probes = [{ kind: "resources", maxRss: "1GiB" }];
    await using rig = new Rig({
      bots: { bot: { command: STAY, probes }, off: { command: STAY, autostart: false } },
      config: BOTH,
    });
    await rig.run();
    const { pid } = await rig.botIn("running");
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
    const text = await (await fetch(`${baseOf(rig, "metrics")}/metrics`)).text();
    expect(text).toContain(
      'supervisor_bot_last_exit_info{bot="bot",account="bot",cause="signal",code="",signal="SIGKILL"} 1\n',
    );
    const checked = Bun.spawnSync([promtool ?? "", "check", "metrics"], { stdin: Buffer.from(text) });
    expect([checked.exitCode, checked.stdout.toString(), checked.stderr.toString()]).toEqual([0, "", ""]);
  },
);

test.concurrent("a password keeps out who does not know it; it stands in no file of the supervisor and in no answer", async () => {
  const auth = { username: "ops", passwordFile: "web.password" };
  const listen = ":0";
  await using rig = new Rig({
    bots: { bot: { command: STAY } },
    config: { http: { listen, auth }, metrics: { listen, auth } },
  });
  rig.write("web.password", "hunter2-s3cret\n");
  await rig.run();
  const headers = { authorization: `Basic ${btoa("ops:hunter2-s3cret")}` };
  for (const [section, path] of [
    ["http", "/health"],
    ["http", "/"],
    ["metrics", "/metrics"],
  ] as const) {
    const url = `http://127.0.0.1:${new URL(baseOf(rig, section)).port}${path}`;
    const refused = await fetch(url);
    expect([path, refused.status, refused.headers.get("www-authenticate")]).toMatchObject([path, 401, /^Basic /]);
    expect(await codeOf(url, { headers: { authorization: `Basic ${btoa("ops:hunter3-s3cret")}` } })).toBe(401);
    const answered = await fetch(url, { headers });
    expect([path, answered.status]).toEqual([path, 200]);
    expect(await answered.text()).not.toContain("hunter2");
  }
  expect(rig.read("daemon.err")).toContain("warning: http.listen: the password travels unencrypted");
  expect((await rig.cli("config", "show")).out).not.toContain("hunter2");
  const files = readdirSync(rig.state(""), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const texts = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), "utf8"));
  expect(texts.length).toBeGreaterThan(1);
  expect(texts.filter((text) => text.includes("hunter2"))).toEqual([]);
});

test.concurrent("config check and run refuse an address that others can reach without a password", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { metrics: { listen: ":8000" } } });
  const check = await rig.cli("config", "check");
  expect(check.code).toBe(2);
  expect(check.err).toMatch(
    /supervisor\.yaml:\d+: metrics\.listen: ":8000" can be reached from other machines, and there is no auth; write 127\.0\.0\.1:8000, or add auth: /,
  );
  expect(await rig.cli("run")).toMatchObject({ code: 2, err: check.err });
});

test.concurrent("a port in use keeps no bot down: it is said once with the fix, status is degraded, and the port is opened when it is free", async () => {
  const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
  const listen = `127.0.0.1:${other.port}`;
  const taken = `cannot listen on ${listen}: another program has the port`;
  await using rig = new Rig({
    bots: { bot: { command: STAY } },
    config: { http: { listen: LOCAL }, metrics: { listen } },
  });
  try {
    await rig.run();
    await rig.botIn("running");
    expect((await rig.status()).supervisor).toMatchObject({ health: "degraded", listen: taken });
    expect(await rig.cli("status")).toMatchObject({ code: 1, out: expect.stringContaining(taken) });
    expect(await codeOf(`${baseOf(rig, "http")}/livez`)).toBe(200);
  } finally {
    await other.stop(true);
  }
  await until("the port is opened", async () => (await rig.status()).supervisor.listen === null);
  expect(await codeOf(`http://${listen}/metrics`)).toBe(200);
  expect((await rig.status()).supervisor.health).toBe("ok");
  expect(rig.journal.filter(({ text }) => text.startsWith(taken))).toEqual([
    expect.objectContaining({ level: "alert", text: expect.stringContaining("in metrics.listen of the config") }),
  ]);
});

test.concurrent("a port in use keeps no bot that lives without its supervisor, and is opened when it is free", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { http: { listen: LOCAL } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const { port } = new URL(baseOf(rig, "http"));
  // Nothing of the servers went on to the bot: it would keep the port after the daemon's death.
  expect(socketsOf(pid ?? 0)).toEqual([]);
  await rig.endDaemon("SIGKILL");
  const thief = Bun.serve({ port: Number(port), hostname: "127.0.0.1", fetch: () => new Response("") });
  try {
    rig.configure({ bot: { command: STAY } }, { http: { listen: `127.0.0.1:${port}` } });
    await rig.run();
    await rig.botUntil("the bot is adopted", (bot) => bot.state === "running" && bot.adopted && bot.pid === pid);
    expect((await rig.status()).supervisor.listen).toBe(
      `cannot listen on 127.0.0.1:${port}: another program has the port`,
    );
  } finally {
    await thief.stop(true);
  }
  await until("the port is opened", () =>
    codeOf(`http://127.0.0.1:${port}/livez`).then(
      (code) => code === 200,
      () => false,
    ),
  );
});

function socketsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .map((fd) => readlinkSync(`${folder}/${fd}`))
    .filter((target) => target.startsWith("socket:"));
}

test.concurrent("/health and /metrics tell a lockout", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot }, config: BOTH });
  await rig.run();
  await rig.botIn("running");
  expect(await codeOf(`${baseOf(rig, "http")}/health`)).toBe(200);
  await rig.cli("emergency", "close", "bot", "--yes");
  await rig.botIn("locked");
  expect(await codeOf(`${baseOf(rig, "http")}/health`)).toBe(503);
  expect(await (await fetch(`${baseOf(rig, "http")}/readyz`)).text()).toBe("not ready: bot (locked)\n");
  const text = await (await fetch(`${baseOf(rig, "metrics")}/metrics`)).text();
  expect(text).toContain('supervisor_bot_locked{bot="bot",account="bot"} 1\n');
  expect(text).toContain('supervisor_bot_emergency_state{bot="bot",account="bot",state="flat"} 1\n');
  expect(text).toContain('trading_bot_degradation_level{bot="bot",account="bot",level="emergency"} 1\n');
});

test.concurrent("a daemon that stands still answers nobody, and answers again when it goes on", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { http: { listen: LOCAL } } });
  const { pid } = await rig.run();
  const http = baseOf(rig, "http");
  process.kill(pid, "SIGSTOP");
  const signal = AbortSignal.timeout(1_000);
  await expect(fetch(`${http}/livez`, { signal })).rejects.toThrow(/tim/i);
  process.kill(pid, "SIGCONT");
  await until("it answers again", async () => (await codeOf(`${http}/livez`)) === 200);
});
