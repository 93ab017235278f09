/** Which lockout holds when a bot has had several names, on real files. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { planBot, type BotPlan } from "../../../src/supervisor/runtime/bot-plan.ts";
import { lockoutSlot } from "../../../src/supervisor/runtime/lockout-file.ts";
import { LockoutStore } from "../../../src/supervisor/runtime/lockout-store.ts";
import { botConfig } from "../../harness/bot-config.ts";

const root = mkdtempSync(join(tmpdir(), "lockout-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function dirsIn(folder: string) {
  const stateDir = join(root, folder);
  return { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
}

function plansIn(folder: string): readonly [BotPlan, BotPlan] {
  const dirs = dirsIn(folder);
  const plan = (name: string): BotPlan => planBot(name, botConfig(name, { account: "main" }), dirs);
  const plans = [plan("first"), plan("second")] as const;
  for (const { files } of plans)
    for (const dir of [files.dir, dirname(files.lockoutSpare)]) mkdirSync(dir, { recursive: true });
  return plans;
}

const filesOf = ({ files }: BotPlan): readonly string[] => [lockoutSlot(files.dir), files.lockout];

/** The store of a daemon that begins with `plan` in its config and finds the folder of `other`. */
const storeOf = (plan: BotPlan, other: BotPlan): LockoutStore =>
  new LockoutStore({
    plan,
    clock: systemClock,
    inherited: filesOf(other),
    shared: [],
    newIncident: () => `for${plan.name}`,
    onTrouble: (text) => {
      throw new Error(text);
    },
  });

test("LockoutStore goes by the interrupted close, not by an older lockout of the first name that ended flat", () => {
  const [first, second] = plansIn("renamed-back");
  const before = storeOf(first, second);
  before.open("operator", "the first time");
  before.end("flat");
  const old = readFileSync(first.files.lockout);
  const renamed = storeOf(second, first);
  renamed.open("probe", "the second time");
  // A daemon that was killed before it could clear the old word leaves both.
  writeFileSync(first.files.lockout, old);
  expect(storeOf(first, second).current).toMatchObject({ bot: "second", incident: "forsecond", outcome: null });
});

test("LockoutStore keeps an account's lockout under one name: the present one", () => {
  const [first, second] = plansIn("renamed");
  storeOf(first, second).open("operator", "asked for");
  const renamed = storeOf(second, first);
  renamed.open("operator", "goes on");
  expect(existsSync(first.files.lockout)).toBe(false);
  renamed.end("flat");
  expect(storeOf(first, second).current).toMatchObject({ bot: "second", incident: "forfirst", outcome: "flat" });
});

/** The store of a bot that the config gives another account by now; what it says is kept. */
function storeOn(account: string, { files }: BotPlan, said: string[]): LockoutStore {
  const plan = planBot("first", botConfig("first", { account }), dirsIn("moved"));
  expect(plan.files.dir).toBe(files.dir);
  const newIncident = (): string => `for${account}`;
  const onTrouble = (text: string): void => void said.push(text);
  return new LockoutStore({ plan, clock: systemClock, inherited: [], shared: [], newIncident, onTrouble });
}

test.each([
  ["that was interrupted", undefined],
  ["that did not end flat", "residual"],
] as const)(
  "LockoutStore goes on with no close %s on an account that is not the bot's any more, and locks",
  (_, outcome) => {
    const [first, second] = plansIn("moved");
    const before = storeOf(first, second);
    before.open("operator", "asked for");
    if (outcome !== undefined) before.end(outcome);
    const onDisk = readFileSync(first.files.lockout, "utf8");
    const said: string[] = [];
    const moved = storeOn("other", first, said);
    expect(moved.current).toMatchObject({ account: "other", outcome: "lockDamaged" });
    expect(moved.current?.reason).toContain("the close of account main");
    // A reload lets no bot change its account that is not proven flat.
    expect(moved.current?.reason).toContain("give it back account main and start the supervisor again");
    expect(said).toEqual([moved.current?.reason]);
    // Whoever gives the account back has it closed.
    expect(readFileSync(first.files.lockout, "utf8")).toBe(onDisk);
    expect(storeOn("main", first, said).current).toMatchObject({ account: "main", outcome: outcome ?? null });
    moved.remove();
    expect(storeOn("other", first, said).current).toBeUndefined();
  },
);

test("LockoutStore keeps the open close of an account that the bot had before while that of its present one comes and goes", () => {
  const [first, second] = plansIn("moved");
  storeOf(first, second).open("operator", "asked for");
  const said: string[] = [];
  const moved = storeOn("other", first, said);
  moved.open("file", "of the present account");
  moved.end("flat");
  expect(said.at(-1)).toContain("the close of account main (incident forfirst) has not ended; it is in ");
  // Its own is flat, and nothing is closed for the other one; which is not to be forgotten for that.
  expect(storeOn("other", first, said).current).toMatchObject({ account: "other", outcome: "lockDamaged" });
  const back = storeOn("main", first, said);
  expect(back.current).toMatchObject({ account: "main", incident: "forfirst", outcome: null });
  back.open("operator", "goes on");
  back.end("flat");
  expect(storeOn("main", first, said).current).toMatchObject({ account: "main", outcome: "flat" });
  back.remove();
  expect(storeOn("main", first, said).current).toBeUndefined();
});

test("LockoutStore tells of the open close of an earlier account until a person ends it, and keeps it from no later one", () => {
  const [first, second] = plansIn("moved");
  storeOf(first, second).open("operator", "asked for");
  const said: string[] = [];
  const open = "the close of account main (incident forfirst), which it had before, has not ended";
  const moved = storeOn("other", first, said);
  expect(moved.openElsewhere).toBe(open);
  moved.open("file", "of the present account");
  moved.end("flat");
  expect(moved.openElsewhere).toBe(open);
  const again = storeOn("other", first, said);
  expect(again.openElsewhere).toBe(open);
  again.remove();
  expect(again.openElsewhere).toBeUndefined();
  // What a person has ended is not back with the next emergency of the present account.
  again.open("operator", "long after");
  expect(existsSync(join(first.files.dir, "lock-elsewhere.json"))).toBe(false);
  again.end("flat");
  expect(storeOn("other", first, said).current).toMatchObject({ account: "other", outcome: "flat" });
});

test("LockoutStore keeps an open close of an earlier account with a later write where the disk did not take it at first", () => {
  const [first, second] = plansIn("moved");
  storeOf(first, second).open("operator", "asked for");
  const said: string[] = [];
  const moved = storeOn("other", first, said);
  const inTheWay = join(first.files.dir, "lock-elsewhere.json");
  mkdirSync(inTheWay);
  moved.open("file", "of the present account");
  expect(said.at(-1)).toContain("cannot keep the lockout of another account");
  rmdirSync(inTheWay);
  moved.end("flat");
  expect(storeOn("main", first, said).current).toMatchObject({ account: "main", incident: "forfirst", outcome: null });
});

test("LockoutStore keeps a bot locked whose close ended flat before it got another account", () => {
  const [first, second] = plansIn("moved");
  const before = storeOf(first, second);
  before.open("operator", "asked for");
  before.end("flat");
  const said: string[] = [];
  expect(storeOn("other", first, said).current).toMatchObject({ account: "main", outcome: "flat" });
  expect(said).toEqual([]);
});

test("LockoutStore is not locked again by what a person has ended for it, as long as that other bot stays locked, and by what is new", () => {
  const [first, second] = plansIn("shared");
  storeOf(first, second).open("operator", "asked for");
  const start = (): LockoutStore =>
    new LockoutStore({
      plan: second,
      clock: systemClock,
      inherited: [],
      shared: filesOf(first),
      newIncident: () => "forsecond",
      onTrouble: (text) => {
        throw new Error(text);
      },
    });
  const armed = start();
  expect(armed.current).toMatchObject({ incident: "forfirst" });
  armed.remove();
  expect(existsSync(first.files.lockout)).toBe(true);
  expect(start().current).toBeUndefined();
  storeOf(first, second).end("residual");
  expect(start().current).toMatchObject({ incident: "forfirst", outcome: "residual" });
});

test.each([
  ["that is damaged", "{"],
  ["of a newer release", '{"version":2}'],
])(
  "LockoutStore is not locked again by a file of another bot %s once a person has ended that, and leaves it there",
  (what, text) => {
    const [first, second] = plansIn(`unread ${what}`);
    const { lockout } = first.files;
    writeFileSync(lockout, text);
    const start = (): LockoutStore =>
      new LockoutStore({
        plan: second,
        clock: systemClock,
        inherited: [],
        shared: filesOf(first),
        newIncident: () => "forsecond",
        onTrouble: () => {},
      });
    const armed = start();
    expect(armed.current).toMatchObject({ outcome: "lockDamaged" });
    expect(start().current).toMatchObject({ outcome: "lockDamaged" });
    armed.remove();
    expect(start().current).toBeUndefined();
    expect(readFileSync(lockout, "utf8")).toBe(text);
    writeFileSync(lockout, `${text} `);
    expect(start().current).toMatchObject({ outcome: "lockDamaged" });
  },
);
