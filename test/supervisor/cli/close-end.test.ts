import { expect, test } from "vitest";
import { DaemonError, DaemonSilentError } from "../../../src/supervisor/cli/client.ts";
import { closeExitCode, closeRefusal, planRefusal, showCloseEnd } from "../../../src/supervisor/cli/close-end.ts";

test.each([
  ["flat", 0],
  ["residual", 10],
  ["foreign", 11],
  ["refused", 12],
  ["keyRefused", 13],
  ["unreadable", 14],
  ["unsupported", 15],
  ["internal", 16],
  ["failed", 16],
  ["lockDamaged", 16],
  ["something newer", 16],
  ["toString", 16],
])("closeExitCode() of %s is %i", (outcome, code) => {
  expect(closeExitCode(outcome)).toBe(code);
});

test.each([
  ["flat", 1],
  ["residual", 10],
])("showCloseEnd() of %s says where the lockout ends with the command, and ends with %i", (outcome, expected) => {
  let said = "";
  let code = 0;
  const lockoutLost = "the lockout of bot is on NO disk";
  const io = {
    out: () => {},
    err: (text: string) => (said += text),
    env: {},
    cwd: "/",
    isTerminal: false,
    colour: false,
    setExitCode: (value: number) => (code = value),
  };
  showCloseEnd({ bot: "bot", incident: "abc123", outcome, detail: null, report: null, lockoutLost }, {}, io);
  expect({ said, code }).toEqual({ said: lockoutLost, code: expected });
});

const says = (code: string, exitCode = 1): DaemonError =>
  new DaemonError({ code, message: `cannot: ${code}`, hint: "do" }, exitCode);

test.each([
  ["noSuchBot", 2, 2, 2],
  ["unsupported", 1, 15, 15],
  ["notConfirmed", 1, 12, 12],
  ["inProgress", 1, 12, 12],
  ["stopping", 1, 12, 12],
  ["failed", 1, 16, 16],
  ["internal", 1, 16, 16],
  ["EACCES", 1, 1, 12],
])("%s (exit code %i) ends emergency plan with %i and emergency close with %i", (code, before, ofPlan, ofClose) => {
  expect(planRefusal(says(code, before))).toMatchObject({ exitCode: ofPlan, message: `cannot: ${code}`, hint: "do" });
  expect(closeRefusal("bot", says(code, before))).toMatchObject({ exitCode: ofClose, hint: "do" });
});

test("closeRefusal() of a silent daemon says that nothing was asked, and how to go on", () => {
  const refusal = closeRefusal("bot", new DaemonSilentError("/none/supervisor.lock", undefined));
  expect(refusal.exitCode).toBe(12);
  expect(refusal.message).toBe(
    "cannot close positions of bot: the supervisor does not answer; it may be stopped or overloaded; nothing was asked of it, nothing is being closed",
  );
  expect(refusal.hint).toContain("kill -CONT PID");
});
