import { expect, test } from "vitest";
import {
  HANDOVER_VERSION,
  judgeSelfCheck,
  readHandover,
  selfCheckReport,
  type Waiting,
} from "../../src/core/upgrade.ts";

const report = selfCheckReport({
  version: "2.0.0",
  problems: [],
  bots: {
    one: { verdict: "adopt", reason: "" },
    two: { verdict: "end", reason: "its definition in the config has changed" },
  },
});
const stateDir = "/state";
const runtimeDir = "/run";
const exited = (output: unknown, code: number | null = 0, signal: string | null = null) =>
  ({ kind: "exited", code, signal, output: typeof output === "string" ? output : JSON.stringify(output) }) as const;

test("judgeSelfCheck() takes a program that would adopt every running bot, whatever it prints besides", () => {
  const fit = { kind: "fit", version: "2.0.0", takesBackoff: true };
  expect(judgeSelfCheck(exited(report), { running: ["one"], waiting: [], stateDir, runtimeDir })).toEqual(fit);
  expect(
    judgeSelfCheck(exited(`a warning\n{}\n${JSON.stringify(report)}\n`), {
      running: [],
      waiting: [],
      stateDir,
      runtimeDir,
    }),
  ).toEqual(fit);
  expect(
    judgeSelfCheck(exited({ ...report, later: 1 }), { running: ["one"], waiting: [], stateDir, runtimeDir }),
  ).toEqual(fit);
});

test.each([
  ["cannot be started", { kind: "failed", reason: "permission denied" }, "permission denied"],
  ["hangs", { kind: "timeout", output: JSON.stringify(report) }, "did not end in time"],
  ["prints nothing", exited(""), "no supervisor that can take over: its self-check ended with code 0"],
  ["prints another thing", exited("usage:\u001B[2J"), "ended with code 0 and said: usage: [2J"],
  ["crashes", exited("", null, "SIGSEGV"), "was ended by SIGSEGV"],
  ["crashes after its report", exited(report, null, "SIGSEGV"), "was ended by SIGSEGV"],
  ["is another program with the same form", exited({ ...report, name: "other" }), "no supervisor"],
  ["speaks another form", exited({ ...report, selfCheck: 2 }), "no supervisor"],
  ["takes over in another form", exited({ ...report, handover: HANDOVER_VERSION + 1 }), "hands over in form"],
  ["has problems", exited({ ...report, problems: ["a", "b"] }, 1), "a; b"],
  ["would end a running bot", exited(report), "would not go on with bot two: its definition"],
] as const)("judgeSelfCheck() refuses a program that %s", (_, run, reason) => {
  const judged = judgeSelfCheck(run, { running: ["one", "two"], waiting: [], stateDir, runtimeDir });
  expect(judged).toMatchObject({ kind: "unfit", reason: expect.stringContaining(reason) });
});

test.each(["stateDir", "runtimeDir"])(
  "judgeSelfCheck() refuses a config on disk with another %s first of all",
  (key) => {
    const run = exited({ ...report, stateDir, runtimeDir, [key]: "/other", problems: ["what comes of it"] }, 1);
    expect(judgeSelfCheck(run, { running: ["one"], waiting: [], stateDir, runtimeDir })).toMatchObject({
      kind: "unfit",
      reason: `the config on disk has another ${key} (/other): that needs a restart`,
    });
  },
);

test("judgeSelfCheck() takes a program that names the same folders", () => {
  const run = exited({ ...report, stateDir, runtimeDir });
  expect(judgeSelfCheck(run, { running: ["one"], waiting: [], stateDir, runtimeDir }).kind).toBe("fit");
});

test("judgeSelfCheck() refuses a config on disk that has lost a running bot", () => {
  expect(judgeSelfCheck(exited(report), { running: ["three"], waiting: [], stateDir, runtimeDir })).toMatchObject({
    kind: "unfit",
  });
});

const judge = (said: object, waiting: readonly string[], until: Waiting["until"] = "restart") =>
  judgeSelfCheck(exited(said), {
    running: ["one"],
    waiting: waiting.map((name) => ({ name, account: "mine", until })),
    stateDir,
    runtimeDir,
  });

test("judgeSelfCheck() refuses a program that does not go on with a backoff, and a config that has lost a bot in one", () => {
  const { takes: _, ...older } = report;
  expect(judge(report, ["two"])).toEqual({ kind: "fit", version: "2.0.0", takesBackoff: true });
  expect(judge(older, [])).toEqual({ kind: "fit", version: "2.0.0", takesBackoff: false });
  expect(judge(older, ["two"])).toMatchObject({ reason: expect.stringContaining("the backoff of bot two") });
  expect(judge(report, ["three"])).toMatchObject({ reason: expect.stringContaining("does not name bot three") });
});

const given = (account: string) => ({
  ...report,
  bots: { ...report.bots, two: { verdict: "end", reason: "its main process is gone", account } },
});

test.each([
  ["restart", "which is in backoff"],
  ["closeAfter", "whose closeAfter counts"],
] as const)("judgeSelfCheck() lets what counts towards a %s neither be lost nor change its account", (until, which) => {
  expect(judge(given("mine"), ["two"], until).kind).toBe("fit");
  expect(judge(given("other"), ["two"], until)).toEqual({
    kind: "unfit",
    reason: `the config on disk gives bot two, ${which}, another account: it was mine and is other`,
  });
  expect(judge(report, ["three"], until)).toMatchObject({
    reason: expect.stringContaining(`name bot three, ${which}`),
  });
  // An older version does not say the account.
  expect(judge(report, ["two"], until).kind).toBe("fit");
});

test("judgeSelfCheck() refuses a config under which a bot in backoff would be halted", () => {
  const [reason, lacks] = ["bots.two.user: no such user", "bots.two.user: no such user"];
  const broken = { ...report, bots: { ...report.bots, two: { verdict: "end", reason, lacks } } };
  expect(judge(broken, ["two"])).toEqual({
    kind: "unfit",
    reason: "it would not start bot two, which is in backoff: bots.two.user: no such user",
  });
  // What is halted is not started anyway.
  expect(judge(broken, ["two"], "closeAfter").kind).toBe("fit");
});

test("judgeSelfCheck() gives a halted bot whose closeAfter counts also to a version that takes no backoff", () => {
  const { takes: _, ...older } = report;
  expect(judge(older, ["two"], "closeAfter").kind).toBe("fit");
});

test("readHandover() takes what is meant for this process and nothing else", () => {
  const bot = {
    kind: "halted",
    reason: "code 78",
    wanted: true,
    attempt: 1,
    restarts: 2,
    restartAgesMs: [5],
    closeAfterLeftMs: null,
    lastExit: null,
  };
  const handed = {
    handover: HANDOVER_VERSION,
    pid: 7,
    from: "1",
    to: "2",
    bots: { one: bot },
    commands: [{ pid: 9, startTicks: 1 }],
  };
  // As an older version hands over, which knows neither of workers nor of what they leave.
  expect(readHandover(JSON.stringify(handed), 7)).toEqual({ ...handed, workers: [], left: [] });
  const waits = { ...handed, bots: { one: { ...bot, kind: "backoff", backoffLeftMs: 900 } } };
  expect(readHandover(JSON.stringify(waits), 7)).toEqual({ ...waits, workers: [], left: [] });
  expect(readHandover(JSON.stringify(handed), 8)).toBeUndefined();
  expect(readHandover(JSON.stringify({ ...handed, handover: 2 }), 7)).toBeUndefined();
  expect(readHandover("", 7)).toBeUndefined();
});
