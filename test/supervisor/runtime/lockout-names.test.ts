/** Which lockout holds when a bot has had several names, on real files. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

function plansIn(folder: string): readonly [BotPlan, BotPlan] {
  const stateDir = join(root, folder);
  const dirs = { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
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
