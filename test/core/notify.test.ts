/** What a bot may say, row by row, and that nothing it says breaks us. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_NOTIFY_TEXT_CHARS, parseNotify } from "../../src/core/notify.ts";
import type { NotifyMessage } from "../../src/core/notify.ts";

const ignored = (lines = 1): NotifyMessage => ({ kind: "ignored", lines });

test.each<[string, NotifyMessage[]]>([
  ["READY=1", [{ kind: "ready" }]],
  ["READY=1\n", [{ kind: "ready" }]],
  ["READY=0", [ignored()]],
  ["READY=1\nSTOPPING=1\nRELOADING=1", [{ kind: "stopping" }]],
  ["RELOADING=1\nREADY=1", [{ kind: "ready" }]],
  ["RELOADING=1", [{ kind: "reloading", monotonicUsec: undefined }]],
  ["RELOADING=1\nMONOTONIC_USEC=123456", [{ kind: "reloading", monotonicUsec: 123_456 }]],
  ["STATUS=3 positions open", [{ kind: "status", text: "3 positions open" }]],
  ["STATUS=a=b", [{ kind: "status", text: "a=b" }]],
  ["STATUS=", [{ kind: "status", text: "" }]],
  ["STATUS=\u001b[2Jx\u0007", [{ kind: "status", text: " [2Jx " }]],
  ["STATUS=bad \uFFFD bytes", [ignored()]],
  ["READY=1\nSTATUS=up", [{ kind: "ready" }, { kind: "status", text: "up" }]],
  ["STATUS=up\nREADY=1", [{ kind: "ready" }, { kind: "status", text: "up" }]],
  ["WATCHDOG=1", [{ kind: "watchdog" }]],
  ["WATCHDOG=trigger", [{ kind: "watchdogTrigger" }]],
  ["WATCHDOG=2", [ignored()]],
  ["WATCHDOG_USEC=20000000", [{ kind: "watchdogPeriod", periodMs: 20_000 }]],
  ["WATCHDOG_USEC=0", [{ kind: "watchdogPeriod", periodMs: 0 }]],
  ["WATCHDOG_USEC=1", [{ kind: "watchdogPeriod", periodMs: 1 }]],
  ["WATCHDOG_USEC=18446744073709551615", [ignored()]],
  ["WATCHDOG_USEC=-5", [ignored()]],
  ["WATCHDOG_USEC=1e6", [ignored()]],
  ["EXTEND_TIMEOUT_USEC=1500", [{ kind: "extendTimeout", extendMs: 2 }]],
  ["EXTEND_TIMEOUT_USEC=9999999999999", [ignored()]],
  ["MAINPID=4242", [{ kind: "mainPid", pid: 4242 }]],
  ["MAINPID=0", [ignored()]],
  ["MAINPID=99999999", [ignored()]],
  ["MAINPID= 5", [ignored()]],
  ["ERRNO=22", [{ kind: "errno", errno: 22 }]],
  ["EXIT_STATUS=3", [{ kind: "exitStatus", status: 3 }]],
  ["EXIT_STATUS=256", [ignored()]],
  ["RESTART_RESET=1", [{ kind: "restartReset" }]],
  ["BARRIER=1", [{ kind: "barrier" }]],
  ["NOTIFYACCESS=all", [{ kind: "notifyAccess", access: "all" }]],
  ["NOTIFYACCESS=some", [ignored()]],
  ["FDSTORE=1\nFDNAME=x\nFDPOLL=0", [{ kind: "fdStore" }]],
  ["FDSTOREREMOVE=1\nFDNAME=x", []],
  ["X_PROGRESS=tick 17", [{ kind: "progress", value: "tick 17" }]],
  ["X_IN_FLIGHT=0", [{ kind: "inFlight", count: 0 }]],
  ["X_IN_FLIGHT=-1", [ignored()]],
  ["X_EXPOSURE=-1234.5", [{ kind: "exposure", amount: -1234.5 }]],
  ["X_EXPOSURE=1e3", [{ kind: "exposure", amount: 1_000 }]],
  ["X_EXPOSURE=0x10", [ignored()]],
  ["X_EXPOSURE=1.2.3", [ignored()]],
  ["X_EXPOSURE=1e999", [ignored()]],
  ["X_EXPOSURE=", [ignored()]],
  ["X_SOMETHING=1\nno equals sign\n=x", [ignored(3)]],
  ["", []],
  ["\n\n", []],
  ["constructor=1\n__proto__=1", [ignored(2)]],
])("parseNotify(%j)", (text, expected) => {
  expect(parseNotify(text)).toEqual(expected);
});

test("parseNotify() cuts a status at its bound and not inside a character", () => {
  const [message] = parseNotify(`STATUS=${"x".repeat(MAX_NOTIFY_TEXT_CHARS - 1)}😀`);
  expect(message).toEqual({ kind: "status", text: "x".repeat(MAX_NOTIFY_TEXT_CHARS - 1) });
});

test("parseNotify() never throws, and its answer is bounded, printable and finite, whatever it is given", () => {
  const name = fc.constantFrom(
    "STATUS",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
    "MAINPID",
    "X_PROGRESS",
    "X_EXPOSURE",
    "X_IN_FLIGHT",
    "READY",
  );
  const value = fc.oneof(
    fc.string({ unit: "binary", maxLength: 600 }),
    fc.double().map(String),
    fc.bigInt().map(String),
    fc.constant("1"),
  );
  const line = fc.oneof(
    fc.tuple(name, value).map(([left, right]) => `${left}=${right}`),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
      const messages = parseNotify(lines.join("\n"));
      expect(messages.length).toBeLessThanOrEqual(lines.join("\n").split("\n").length + 1);
      const states = messages.filter(({ kind }) => kind === "ready" || kind === "stopping" || kind === "reloading");
      expect(states.length).toBeLessThanOrEqual(1);
      const held = messages.flatMap((message) => Object.values(message));
      const bad = held.filter((part) =>
        typeof part === "string"
          ? part.length > MAX_NOTIFY_TEXT_CHARS || /\p{Cc}/u.test(part)
          : part !== undefined && !Number.isFinite(part),
      );
      expect(bad).toEqual([]);
    }),
  );
});
