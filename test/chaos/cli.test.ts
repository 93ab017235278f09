/** What the commands say and how they exit when the daemon hangs, dies or loses its socket, and when a close ends badly. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { changes, startPaper, type Paper } from "./paper.ts";

/** Longest time that a command may take on a daemon that hangs, ms: its deadline is 5 s, the machine may be loaded. */
const HUNG_MS = 15_000;

function rigOn(paper: Paper, emergency: object = {}): Rig {
  return new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url, emergency) } } });
}

interface EmergencyAnswer {
  readonly state: string;
  readonly incident: string | null;
  readonly outcome: string | null;
  readonly detail: string | null;
  readonly report: { readonly incident: string; readonly outcome: string; readonly orders: object[] } | null;
}

async function emergencyOf(rig: Rig): Promise<EmergencyAnswer> {
  // Safe: our own daemon made the answer.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (await (await rig.request("/v1/bots/bot/emergency")).json()) as EmergencyAnswer;
}

test.concurrent("no command waits for a daemon that hangs: each names its pid, and emergency close says that nothing was asked", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  process.kill(pid, "SIGSTOP");
  const silent = `the supervisor (pid ${pid}, from ${rig.state("supervisor.lock")}) does not answer; it may be stopped or overloaded`;
  const asked = await Promise.all([
    rig.cli("status"),
    rig.cli("status", "--json"),
    rig.cli("stop", "bot"),
    rig.cli("arm", "bot", "--reason", "x"),
    rig.cli("events", "-f"),
    rig.cli("emergency", "plan", "bot"),
  ]);
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  for (const { code, out, err, ms } of asked) {
    expect(code).toBe(1);
    expect(out).toBe("");
    expect(err).toContain(silent);
    expect(err).toContain(`kill -CONT ${pid}`);
    expect(ms).toBeLessThan(HUNG_MS);
  }
  expect(close.code).toBe(12);
  expect(close.ms).toBeLessThan(HUNG_MS);
  expect(close.err).toContain(
    `cannot close positions of bot: ${silent}; nothing was asked of it, nothing is being closed`,
  );
  process.kill(pid, "SIGCONT");
  await until("the daemon answers again", () => rig.status().catch(() => undefined));
  expect(await rig.bot()).toMatchObject({ state: "running", pid: before.pid, generation: 1 });
  expect(changes(paper.state())).toBe(0);
});

test.concurrent("emergency close beside a living daemon whose socket is gone is refused with its pid and what to do", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  // Stopped, so that it does not make a new socket before we look.
  process.kill(pid, "SIGSTOP");
  rmSync(rig.state("run/control.sock"));
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close).toMatchObject({ code: 12, out: "" });
  expect(close.err).toContain(
    `cannot close positions of bot: the supervisor with pid ${pid} holds ${rig.state("supervisor.lock")}`,
  );
  expect(close.err).toContain("nothing was closed");
  expect(close.err).toContain(`kill -USR2 ${pid}`);
  expect(close.err).not.toContain("stateDir");
  expect(isLive(before.pid ?? 0)).toBe(true);
  expect(changes(paper.state())).toBe(0);
  process.kill(pid, "SIGCONT");
});

test.concurrent("GET /v1/bots/NAME/emergency carries the report of the close, also after a restart of the daemon", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  expect(await emergencyOf(rig)).toMatchObject({ state: "running", incident: null, outcome: null, report: null });
  const close = await rig.cli("emergency", "close", "bot", "--yes", "--json");
  expect(close.code).toBe(0);
  const live = await emergencyOf(rig);
  expect(live).toMatchObject({ state: "locked", outcome: "flat", report: { outcome: "flat" } });
  expect(live.report?.incident).toBe(live.incident);
  expect(live.report?.orders.length).toBeGreaterThan(1);
  expect(JSON.parse(close.out)).toEqual({
    incident: live.incident,
    outcome: "flat",
    detail: live.detail,
    report: live.report,
  });
  await rig.endDaemon("SIGTERM");
  await rig.run();
  expect(await emergencyOf(rig)).toMatchObject({ state: "locked", outcome: "flat", report: live.report });
});

test.concurrent("a close that cannot make a report exits 16 with the reason, and shows no older report of its incident", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  rig.write("paper.secret", "not-the-secret");
  expect((await rig.cli("emergency", "plan", "bot")).code).toBe(13);
  const refused = await rig.cli("emergency", "close", "bot", "--yes");
  expect(refused.code).toBe(13);
  expect(refused.out).toMatch(/^incident \w+: keyRefused after/);

  rmSync(rig.path("paper.secret"));
  const plan = await rig.cli("emergency", "plan", "bot");
  expect(plan).toMatchObject({ code: 16, out: "" });
  expect(plan.err).toContain("paper.secret");
  const failed = await rig.cli("emergency", "close", "bot", "--yes");
  expect(failed.code).toBe(16);
  expect(failed.out).toMatch(/^incident \w+: failed, without a report: .*paper\.secret/);
  const json = await rig.cli("emergency", "close", "bot", "--yes", "--json");
  expect(json.code).toBe(16);
  expect(JSON.parse(json.out)).toMatchObject({
    outcome: "failed",
    report: null,
    detail: expect.stringContaining("paper.secret"),
  });
  expect(await emergencyOf(rig)).toMatchObject({ outcome: "failed", report: null });

  rig.write("paper.secret", "chaos-secret");
  const done = await rig.cli("emergency", "close", "bot", "--yes");
  expect(done.code).toBe(0);
  expect(done.out).toMatch(/^incident \w+: flat after/);
  expect(paper.state()).toMatchObject({ flat: true });
});

test.concurrent("a close without a daemon tells a missing report the same way", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, { apiSecretFile: undefined, apiSecretEnv: "PAPER_SECRET" });
  const failed = await rig.cli("emergency", "close", "bot", "--yes");
  expect(failed.code).toBe(16);
  expect(failed.out).toMatch(/^incident \w+: failed, without a report: .*PAPER_SECRET is not set/);
  expect(changes(paper.state())).toBe(0);
});

test.concurrent("emergency plan of a bot without an emergency section exits 15", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  expect((await rig.cli("emergency", "plan", "bot")).code).toBe(15);
  await rig.run();
  const plan = await rig.cli("emergency", "plan", "bot");
  expect(plan.code).toBe(15);
  expect(plan.err).toContain("it has no emergency section");
  expect((await rig.cli("emergency", "plan", "nobody")).code).toBe(2);
});

test.concurrent("arm during a close is refused with the incident and what to do; a daemon that dies ends the waiting close with what is known", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 4_000, times: 2 });
  const close = rig.cli("emergency", "close", "bot", "--yes");
  const { emergency } = await rig.botUntil(
    "the close runs",
    (bot) => bot.state === "recovering" && bot.emergency.state === "closing",
  );
  const arm = await rig.cli("arm", "bot", "--reason", "too early");
  expect(arm.code).toBe(1);
  expect(arm.err).toContain(`cannot arm bot: a close is in progress (incident ${emergency.incident}, open since 20`);
  expect(arm.err).toContain("hint: try again when it has ended");
  await until("the snapshot is on disk", () => rig.read(".supervisor/status.json").includes('"state":"closing"'));
  await rig.endDaemon("SIGKILL");
  const lost = await close;
  expect(lost).toMatchObject({ code: 14, out: "" });
  expect(lost.err).toContain("cannot follow the close of bot: the supervisor has ended meanwhile; last known, 20");
  expect(lost.err).toContain(`the bot was recovering, the account closing, incident ${emergency.incident}`);
  await rig.run();
  expect(await rig.botIn("locked", 40_000)).toMatchObject({ emergency: { state: "flat" } });
});

test.concurrent("an event of the bot is one line, and commands no terminal", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  const text = "hello\n12:00:00.000 ‼ bot  forged\u001B[2J\u009B1A\u2028x";
  const posted = await fetch("http://bot/v1/events", {
    unix: rig.state("run/bots/bot.sock"),
    method: "POST",
    body: JSON.stringify({ text }),
  });
  expect(posted.status).toBe(200);
  const plain = "the bot says: hello 12:00:00.000 ‼ bot  forged [2J 1A x";
  expect(rig.journal.map((entry) => entry.text)).toContain(plain);
  const { out } = await rig.cli("events", "--bot", "bot");
  expect(out.split("\n").filter((line) => line.includes("forged"))).toEqual([expect.stringContaining(plain)]);
  expect(rig.read("daemon.err")).not.toContain("\u001B");
});

test.concurrent("status without a daemon says how old the last known state is", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botUntil("the bot is healthy", ({ health }) => health === "healthy");
  await until("the snapshot is on disk", () => rig.read(join(".supervisor", "status.json")).includes('"bot"'));
  await rig.endDaemon("SIGKILL");
  const status = await rig.cli("status");
  expect(status.code).toBe(3);
  expect(status.out).toMatch(/^the supervisor is not running; last known state, as of \S+Z, \d+\.\ds ago:\n/);
  const json = await rig.cli("status", "--json");
  expect(json.code).toBe(3);
  expect(JSON.parse(json.out)).toMatchObject({ supervisor: { pid: null, health: "down" } });
  // What the killed daemon left is ended by the next one.
  await rig.run();
});

test.concurrent("a runtime folder that is removed under the daemon is made again, and daemon and bot are heard again", async () => {
  const talk = 'while :; do systemd-notify --status="$(date +%N)"; sleep 0.1; done';
  await using rig = new Rig({ bots: { bot: { command: ["sh", "-c", talk] } } });
  await rig.run();
  const { pid } = await rig.botUntil("the bot is heard", ({ heartbeat }) => heartbeat.status !== null);
  rmSync(rig.state("run"), { recursive: true });
  await until("the daemon answers again", () => rig.status().catch(() => undefined));
  const { heartbeat } = await rig.bot();
  await rig.botUntil("the bot is heard again", (bot) => bot.heartbeat.status !== heartbeat.status);
  expect(rig.read(".supervisor/run/bots/bot.level")).toBe("normal\n");
  const asked = await fetch("http://bot/v1/level", { unix: rig.state("run/bots/bot.sock") });
  expect(await asked.json()).toEqual({ level: "normal" });
  expect(await rig.bot()).toMatchObject({ pid, generation: 1 });
  const told = rig.journal.map(({ text }) => text);
  for (const what of ["the runtime folder", "the control socket was removed", "a socket of the bot was removed"])
    expect(told.filter((text) => text?.includes(what))).toHaveLength(1);
});

/** Whether the process has a handler for SIGINT (proc_pid_status(5)). */
function catchesInterrupt(pid: number): boolean {
  const mask = /^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${mask}`) & 2n) !== 0n;
}

test.concurrent("a close whose waiting is interrupted says that it goes on, and does", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 2_500, times: 2 });
  const argv = [rig.binary, "emergency", "close", "bot", "--yes"];
  const child = Bun.spawn(argv, { cwd: rig.folder, stdout: "ignore", stderr: "pipe" });
  await until("the command waits", () => catchesInterrupt(child.pid));
  child.kill("SIGINT");
  expect(await new Response(child.stderr).text()).toMatch(
    /^the close of bot goes on in the daemon\nhint: .*supervisor status bot/,
  );
  await child.exited;
  expect(child.signalCode).toBe("SIGINT");
  await rig.botIn("locked", 60_000);
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
});
