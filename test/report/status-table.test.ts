import { expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { statusTable } from "../../src/report/status-table.ts";
import { bot, statusOf } from "../harness/status-sample.ts";

test("statusTable() prints no control character of any field, and no line that a bot or a probe has made up", () => {
  const text = statusTable(statusOf(), { colour: false, detail: true });
  expect(text.split("\n")).toEqual([
    expect.stringMatching(/^supervisor 1\.0\.0 {2}pid 42 /),
    expect.stringMatching(/^BOT /),
    expect.stringMatching(/^bot {2}backoff /),
    "bot: it said [2J no",
    "bot says: fine bot: locked ]0;title ",
    "bot: last exit 2026-01-01T00:00:00.000Z, cause exited: exit forged: fine",
    "bot: probe web: status 500:   1Aall good",
    "bot: start 1",
    "probes of bot:",
    "  web (http, liveness): unhealthy, last failure: status 500:   1Aall good",
  ]);
  // Safe: what must not be there is what is looked for.
  // oxlint-disable-next-line no-control-regex
  expect(text).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F]/);
});

test.each([
  ["2026-01-01T00:00:04.200Z", "as of 2026-01-01T00:00:00.000Z, 4.2s ago:"],
  ["2026-01-01T02:10:00.000Z", "as of 2026-01-01T00:00:00.000Z, 2h 10m ago:"],
  ["2025-12-31T00:00:00.000Z", "as of 2026-01-01T00:00:00.000Z:"],
])("statusTable() says at %s how old the last known state of a dead daemon is", (now, told) => {
  const text = statusTable(statusOf({ pid: null, health: "down" }), {
    colour: false,
    detail: false,
    now: new Date(now),
  });
  expect(text.split("\n")[0]).toBe(`the supervisor is not running; last known state, ${told}`);
});

test.each([
  ["was alive", 4_242, true],
  ["was down", null, false],
])("statusTable() of a dead daemon tells of a bot that %s that it may live on: %#", (_, pid, told) => {
  const status = statusOf({ pid: null, health: "down" }, { pid });
  expect(statusTable(status, { colour: false, detail: false }).includes("may live on, unwatched")).toBe(told);
});

const backup = {
  kind: "sqlite" as const,
  target: "state",
  store: "local",
  lastSuccessAt: "2026-01-01T00:00:00.000Z",
  lastDurationSeconds: 1.2,
  sizeBytes: 1,
  verified: true,
  nextAt: "2026-01-02T00:00:00.000Z",
  overdue: false,
  failures: 0,
  running: false,
  lastError: null,
};

test.each([80, 100, 119])("statusTable() keeps the rows of bots and backups within %i columns", (columns) => {
  const of = { pid: 4_194_304, uptimeSeconds: 90_000, heartbeat: { at: null, ageSeconds: 0.4, status: null } };
  const status = { ...statusOf({}, { ...of, name: "a-bot-with-a-long-name" }), backups: [backup] };
  const rows = statusTable(status, { colour: false, detail: false, columns })
    .split("\n")
    .filter((line) => /^(BOT|BACKUP|a-bot-with-a-long-name|state) /.test(line));
  expect(rows).toHaveLength(4);
  for (const row of rows) expect(row.length).toBeLessThanOrEqual(columns);
  expect(rows[1]).toMatch(/^a-bot-with-a-long-name {2}backoff {2}unhealthy {2}/);
});

test("statusTable() says how many lines of the journal are lost, and nothing while none is", () => {
  const [some, none] = [25, 0].map((journalDropped) =>
    statusTable(statusOf({ journalDropped }), { colour: false, detail: false }),
  );
  expect(some).toContain("\n25 lines of the journal were lost since the supervisor started");
  expect(none).not.toContain("journal");
});

test("statusTable() says why lines of the journal are lost now, and what of a close the disk has not taken", () => {
  const { emergency } = bot;
  const status = statusOf(
    { journal: "cannot write to the journal: ENOSPC" },
    { emergency: { ...emergency, owed: "no" } },
  );
  const shown = statusTable(status, { colour: false, detail: false });
  expect(shown).toContain("\ncannot write to the journal: ENOSPC\n");
  expect(shown).toContain("\nbot: no");
});

test.each([
  [{}, "the last backup in local is damaged; make another: supervisor backup run state"],
  [
    { copies: { pendingBytes: 0, backups: 1, storedBytes: 1 } },
    "the last copy in local is damaged; make another: supervisor backup copy state",
  ],
])("statusTable() says what to do about a last backup that was found damaged (%o)", (more, said) => {
  const shown = (verified: boolean): string => {
    const status = { ...statusOf(), backups: [{ ...backup, ...more, verified }] };
    return statusTable(status, { colour: false, detail: false });
  };
  expect(shown(false)).toContain(`\nstate: ${said}`);
  expect(shown(true)).not.toContain("make another");
});

test("statusTable() of an overdue drill says how the last one failed", () => {
  const last = { id: "drill-1", lastAt: "2026-01-01T00:00:00.000Z", lastSuccessAt: null, ok: false, rtoSeconds: 1 };
  const drill = { ...last, rpoSeconds: null, objectivesMet: false, nextAt: null, overdue: true, running: false };
  const text = statusTable(
    { ...statusOf(), drill: { ...drill, lastError: "no key" } },
    { colour: false, detail: false },
  );
  expect(text).toContain("supervisor drill; the last one, drill-1 of 2026-01-01T00:00:00.000Z, failed: no key");
});

function table(of: Partial<BotStatus>): string {
  return statusTable(statusOf({}, of), { colour: false, detail: false });
}

const locked = (state: BotStatus["emergency"]["state"]): Partial<BotStatus> => ({
  state: "locked",
  emergency: { ...bot.emergency, state },
});

test("statusTable() of a lockout that ended flat says how to arm the bot, and nothing of positions", () => {
  expect(table(locked("flat"))).toContain("the account is flat; when it is safe: supervisor arm bot --reason TEXT");
  expect(table(locked("flat"))).not.toContain("--accept-positions");
});

test("statusTable() of a lockout that ended flat, of a bot that has no emergency section any more, does not say that it did not", () => {
  const text = table({ state: "locked", emergency: { ...bot.emergency, state: "off", outcome: "flat" } });
  expect(text).toContain(
    "bot: locked out, its last close ended flat; when it is safe: supervisor arm bot --reason TEXT",
  );
  expect(text).not.toContain("did not prove");
});

test("statusTable() of a lockout that ended flat says what was seen of the account since, and when", () => {
  const seen = { at: "2026-01-01T01:00:00.000Z", positions: 0, orders: 0, loans: 0 };
  const of = (state: "flat" | "residual", positions: number): string =>
    table({ state: "locked", emergency: { ...bot.emergency, state, outcome: "flat", seen: { ...seen, positions } } });
  expect(of("flat", 0)).toContain("the account was flat when last seen, 2026-01-01T01:00:00.000Z; when it is safe:");
  const open = of("residual", 1);
  expect(open).toContain("the account is not any more: 1 position, 0 open orders were there 2026-01-01T01:00:00.000Z;");
  expect(open).toContain("to close it: supervisor emergency close bot --yes\n");
  expect(open).not.toContain("tried again");
});

test("statusTable() of a lockout that did not end flat says what is tried again, and how to arm it all the same", () => {
  const residual = table(locked("residual"));
  expect(residual).toContain(
    "bot: locked out, its last close did not end flat: something is open; tried again every 30 s",
  );
  expect(residual).toContain("supervisor arm bot --reason TEXT --accept-positions");
  expect(residual).not.toContain("emergency close");
  const unknown = table(locked("unknown"));
  expect(unknown).toContain("its last close did not prove the account flat; why: supervisor events --bot bot");
  expect(unknown).toContain("supervisor emergency close bot --yes");
  expect(unknown).toContain("supervisor arm bot --reason TEXT --accept-positions");
});

test.each([
  [{ outcome: "reduced", retries: false }, "reduced the exposure, as asked, and what is left is open"],
  [{ outcome: "cancelled", retries: false }, "cancelled the orders, as asked, and what is left is open"],
  [{ outcome: "residual", retries: false }, "a person has acknowledged that, and it is not tried again"],
])("statusTable() does not say of a close with %o that it is tried again", (fields, said) => {
  const of = { ...bot.emergency, state: "residual", ...fields } as const;
  const text = table({ state: "locked", emergency: of });
  expect(text).toContain(said);
  expect(text).not.toContain("tried again every");
});

test.each([
  [true, "it is tried again every 30 s while the supervisor runs; once"],
  [false, "it is not tried again by itself; once"],
  [undefined, "an unreadable venue is tried again every 30 s while the supervisor runs, unless a person"],
])("statusTable() says whether a close that proved nothing is tried again, as far as %s tells", (retries, said) => {
  const text = table({ state: "locked", emergency: { ...bot.emergency, state: "unknown", retries } });
  expect(text).toContain(said);
  expect(text).toContain("supervisor emergency close bot --yes\n");
});

test.each(["reduced", "cancelled"])(
  "statusTable() calls an account %s that was left so as it was asked for",
  (outcome) => {
    const row = table({ state: "locked", emergency: { ...bot.emergency, state: "residual", outcome, retries: false } });
    expect(row.split("\n").find((line) => line.startsWith("bot "))).toMatch(new RegExp(`  ${outcome}$`));
  },
);

test.each(["residual", "unknown"] as const)(
  "statusTable() of a close that ended %s tells who has acknowledged it, when and why, and how to try it on its account",
  (state) => {
    const acknowledged = { at: "2026-01-01T02:00:00.000Z", by: "ada", reason: "I close it by hand" };
    const emergency = { ...bot.emergency, state, outcome: "unreadable", retries: false, acknowledged };
    const text = table({ state: "locked", account: "main account", emergency });
    expect(text).toContain(
      "; ada has acknowledged that 2026-01-01T02:00:00.000Z (I close it by hand), and it is not tried",
    );
    expect(text).toContain("to try it: supervisor emergency close bot --yes --account 'main account'\n");
    expect(text).not.toContain("tried again every");
  },
);

test.each([
  [2, "1 (2/5)"],
  [5, "1 (5/5)"],
  [6, "1 (spent)"],
])("statusTable() shows %i restarts that count as %s", (inPeriod, cell) => {
  expect(table({ restarts: { ...bot.restarts, inPeriod } })).toContain(`  ${cell}  `);
});

test.each([
  ["heartbeat", "heartbeat: no heartbeat for 61 s", "cause heartbeat: no heartbeat for 61 s"],
  ["probe:web", "web: status 500", "cause probe:web: status 500"],
  ["exited", "exited with 1", "cause exited: exited with 1"],
])("statusTable() says the name in cause %s once", (cause, detail, told) => {
  expect(table({ lastExit: { at: "T", code: null, signal: null, cause, detail } })).toContain(`last exit T, ${told}\n`);
});
