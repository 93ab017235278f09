/** What a generation's mailbox makes of a bot's words. */
import { expect, test } from "vitest";
import { parseNotify } from "../../../src/core/notify.ts";
import { Mailbox } from "../../../src/supervisor/runtime/mailbox.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

function rig(configuredMs: number) {
  const clock = new FakeClock();
  const mailbox = new Mailbox({
    clock,
    generation: 1,
    readyByNotify: true,
    readyMayBeLost: false,
    heartbeatTimeoutMs: () => configuredMs,
    post: () => undefined,
    onNews: () => undefined,
  });
  const say = (text: string): void => {
    for (const message of parseNotify(text)) mailbox.take(message);
  };
  /** When the heartbeat is overdue, ms from now. */
  const dueInMs = (): number => {
    const { signs, watchdogMs } = mailbox.facts;
    return (signs.heartbeatAtMs ?? Number.NaN) + (watchdogMs ?? configuredMs) - clock.monotonicMs();
  };
  return { clock, mailbox, say, dueInMs };
}

test.each([
  ["shorter", "WATCHDOG_USEC=1000000"],
  ["longer", "WATCHDOG_USEC=7000000"],
  ["not another", "WATCHDOG=1"],
])(
  "Mailbox extends the heartbeat by what is asked for where the bot has asked for a timeout that is %s",
  (_, watch) => {
    const { say, dueInMs } = rig(5_000);
    say(watch);
    say("EXTEND_TIMEOUT_USEC=8000000");
    expect(dueInMs()).toBe(8_000);
  },
);

test("Mailbox extends the heartbeat by at most ten times the configured timeout", () => {
  const { say, dueInMs } = rig(5_000);
  say("WATCHDOG_USEC=1000000");
  say("EXTEND_TIMEOUT_USEC=80000000");
  expect(dueInMs()).toBe(50_000);
});

test("Mailbox does not take an extension for a heartbeat in what is shown of the bot", () => {
  const { clock, mailbox, say } = rig(5_000);
  say("EXTEND_TIMEOUT_USEC=8000000");
  expect(mailbox.facts).toMatchObject({ heartbeatAt: undefined, beatAtMs: undefined });
  say("WATCHDOG=1");
  clock.advance(2_000);
  say("EXTEND_TIMEOUT_USEC=8000000");
  expect(mailbox.facts).toMatchObject({ heartbeatAt: expect.any(Date), beatAtMs: 0 });
});

test("Mailbox never shortens the time for a heartbeat by an extension", () => {
  const { say, dueInMs } = rig(5_000);
  say("WATCHDOG_USEC=7000000");
  say("EXTEND_TIMEOUT_USEC=1000000");
  expect(dueInMs()).toBe(7_000);
});
