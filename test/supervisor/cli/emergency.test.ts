import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/emergency.ts";
import { command as status } from "../../../src/supervisor/cli/status.ts";
import { reportOf } from "../../harness/report-sample.ts";
import { bot, statusOf } from "../../harness/status-sample.ts";
import { VerbRig } from "./verb-rig.ts";

const REPORT = reportOf({
  incident: "plan00",
  bot: "mine",
  account: "mine",
  mode: "plan",
  outcome: "planNotEmpty",
  reason: "something is open",
  rounds: 0,
  verified: false,
  before: { positions: [], orders: 1 },
});

test.each([
  ["c3f9", "to do it, within 120 s: supervisor emergency close mine --confirm c3f9\n"],
  [null, "to do it: supervisor emergency close mine --yes\n"],
])("emergency plan with token %s says how to go on", async (token, next) => {
  await using rig = new VerbRig();
  rig.serve(() => Response.json({ report: REPORT, token }));
  const { out, code } = await rig.run(command, "plan", "mine");
  expect(out.endsWith(`\n${next}`)).toBe(true);
  expect(code).toBe(20);
});

test("emergency plan names the config that was given, so that the line can be run as it is", async () => {
  await using rig = new VerbRig();
  rig.serve(() => Response.json({ report: REPORT, token: "c3f9" }));
  const config = join(rig.dir, "supervisor.yaml");
  const { out } = await rig.run(command, "plan", "mine", "--config", config);
  expect(out.endsWith(`supervisor emergency close --config ${config} mine --confirm c3f9\n`)).toBe(true);
});

test("emergency close without a daemon leaves the state that status shows from then on, and what was known of other bots", async () => {
  const emergency = { exchange: "binanceusdm", apiKeyFile: "nowhere", apiSecretFile: "nowhere" };
  await using rig = new VerbRig({ mine: { command: ["true"], emergency }, other: { command: ["true"] } });
  const before = statusOf();
  const known = [
    { ...bot, name: "mine", state: "running" },
    { ...bot, name: "other" },
  ];
  rig.write(".supervisor/status.json", JSON.stringify({ ...before, bots: known }));
  const close = await rig.run(command, "close", "mine", "--yes");
  expect(close.code).toBe(16);
  expect(close.out).toContain("(emergency.apiKeyFile): no such file");
  expect(JSON.parse(readFileSync(join(rig.dir, ".supervisor/status.json"), "utf8"))).toMatchObject({
    supervisor: { pid: null, health: "down", config: join(rig.dir, "supervisor.yaml") },
    bots: [
      { name: "mine", state: "locked", emergency: { state: "unknown", reason: "an operator asked for it" } },
      known[1],
    ],
  });
  const { out, code } = await rig.run(status);
  expect(code).toBe(3);
  expect(out).toContain("mine: locked out, its last close did not prove the account flat");
});

test("emergency close without a daemon says that the bot would be started again, where the lockout is on no disk", async () => {
  const emergency = { exchange: "binanceusdm", apiKeyFile: "nowhere", apiSecretFile: "nowhere" };
  await using rig = new VerbRig({ mine: { command: ["true"], emergency } });
  // Who may write everywhere is kept out only by a folder in the place of the file that is to be renamed.
  const files = ["bots/mine/.lock.slot", "bots/mine/.lock.json", "run/bots/.mine.lock.json"];
  for (const file of files) rig.write(`.supervisor/${file}.${process.pid}.tmp/in-the-way`, "");
  const { err } = await rig.run(command, "close", "mine", "--yes");
  expect(err).toContain(
    "the lockout of mine is on NO disk and has ended with this command: supervisor run would start mine again",
  );
  for (const file of files) rmSync(join(rig.dir, `.supervisor/${file}.${process.pid}.tmp`), { recursive: true });
  const again = await rig.run(command, "close", "mine", "--yes");
  expect(again.err).not.toContain("NO disk");
});

test("emergency close without a daemon writes what earlier closes have left before its own worker does", async () => {
  const emergency = { exchange: "binanceusdm", apiKeyFile: "nowhere", apiSecretFile: "nowhere" };
  await using rig = new VerbRig({ mine: { command: ["true"], emergency } });
  const left = { version: 1, incidents: { abc123: { lines: ["one", "two"] } } };
  rig.write(".supervisor/run/bots/mine.incidents.json", JSON.stringify(left));
  await rig.run(command, "close", "mine", "--yes");
  const journal = join(rig.dir, ".supervisor/bots/mine/incidents/abc123.ndjson");
  expect(readFileSync(journal, "utf8")).toBe("one\ntwo\n");
});
