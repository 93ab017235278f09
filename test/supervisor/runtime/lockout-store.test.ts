/** The lockout's copies on disk when some of them are spoiled: one that may say "locked" must lock, now and at each later start. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { lockoutSlot } from "../../../src/supervisor/runtime/lockout-file.ts";
import { LockoutStore } from "../../../src/supervisor/runtime/lockout-store.ts";

function rig() {
  const folder = mkdtempSync(join(tmpdir(), "lock-"));
  writeFileSync(join(folder, "supervisor.yaml"), "version: 1\nbots: { bot: { command: [sleep, '9'] } }\n");
  const { config, dirs } = loadConfig({ file: undefined, env: {}, cwd: folder });
  const { bot } = config.bots;
  if (bot === undefined) throw new Error("the config has no bot");
  const plan = planBot("bot", bot, dirs);
  const { dir, lockout, lockoutSpare } = plan.files;
  for (const made of [dir, join(dirs.runtimeDir, "bots")]) mkdirSync(made, { recursive: true });
  const said: string[] = [];
  return {
    dir,
    file: lockout,
    spare: lockoutSpare,
    slot: lockoutSlot(dir),
    said,
    start: (more: { readonly closesOnly?: boolean } = {}) =>
      new LockoutStore({
        ...more,
        plan,
        clock: systemClock,
        inherited: [],
        shared: [],
        newIncident: () => "abc1234",
        onTrouble: (text) => said.push(text),
      }),
    copies: () => readdirSync(dir).filter((name) => /\.damaged-\w+$/.test(name)),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Locked, its close ended flat, and the file lost: the slot is the only copy. */
function lockedInSlot() {
  const made = rig();
  const store = made.start();
  store.open("operator", "a test");
  store.end("flat");
  rmSync(made.file);
  return made;
}

test("LockoutStore knows the first close of an incident, opened once or twice, from those that follow it", () => {
  using made = rig();
  const store = made.start();
  expect(store.isFirstRound).toBe(false);
  store.open("exposure", "too much");
  expect(store.isFirstRound).toBe(true);
  store.open("exposure", "too much, and the bot is proven dead");
  expect(store.isFirstRound).toBe(true);
  store.end("residual");
  store.open("operator", "a person does not wait");
  expect(store.isFirstRound).toBe(false);
  store.end("flat");
  store.open("exposure", "another incident");
  expect(store.isFirstRound).toBe(true);
});

test("LockoutStore.open() keeps what opened the incident, and each trigger that came while it lasted, once", () => {
  using made = rig();
  const store = made.start();
  store.open("operator", "a test", { kind: "cancel" });
  expect(store.current).not.toHaveProperty("later");
  for (const trigger of ["file", "operator", "signal", "file"] as const)
    store.open(trigger, "another", { kind: "flat" });
  store.end("residual");
  const known = { trigger: "operator", reason: "a test", later: ["file", "signal"], outcome: "residual" };
  expect(made.start().current).toMatchObject(known);
  store.end("flat");
  expect(store.open("probe", "a new one")).not.toHaveProperty("later");
});

test("LockoutStore keeps a lockout whose only copy is damaged, writes it anew, and sets the copy aside", () => {
  using made = lockedInSlot();
  truncateSync(made.slot, 40);
  for (const start of [1, 2, 3])
    expect(made.start().current, `start ${start}`).toMatchObject({ bot: "bot", outcome: "lockDamaged" });
  expect(made.copies()).toHaveLength(1);
  expect(existsSync(made.spare)).toBe(false);
});

test("LockoutStore takes a slot that was cut to nothing for damaged", () => {
  using made = lockedInSlot();
  truncateSync(made.slot, 0);
  expect(made.start().current).toMatchObject({ outcome: "lockDamaged" });
});

test("LockoutStore keeps the lockout of a slot that lost its zeros", () => {
  using made = lockedInSlot();
  truncateSync(made.slot, 1_000);
  for (const start of [1, 2]) expect(made.start().current, `start ${start}`).toMatchObject({ outcome: "flat" });
});

test("LockoutStore repairs a damaged copy from the good one", () => {
  using made = rig();
  made.start().open("operator", "a test");
  writeFileSync(made.file, "{");
  expect(made.start().current).toMatchObject({ outcome: null, reason: "a test" });
  expect(JSON.parse(readFileSync(made.file, "utf8"))).toMatchObject({ reason: "a test" });
  expect(made.copies()).toHaveLength(1);
});

test("LockoutStore leaves a lockout of a newer release as it is, and locked", () => {
  using made = rig();
  made.start();
  writeFileSync(made.file, '{"version":2,"kind":"new"}');
  for (const start of [1, 2]) expect(made.start().current, `start ${start}`).toMatchObject({ outcome: "lockDamaged" });
  expect(readFileSync(made.file, "utf8")).toBe('{"version":2,"kind":"new"}');
  expect(made.said[0]).toContain("newer release");
});

test("LockoutStore.remove() keeps what it could not read, and the bot is free", () => {
  using made = rig();
  made.start();
  writeFileSync(made.file, '{"version":2}');
  made.start().remove();
  expect(made.start().current).toBeUndefined();
  expect(made.copies()).toHaveLength(1);
});

test("LockoutStore.settle() brings a lockout to a disk that did not take it, and its end, too", () => {
  using made = rig();
  const store = made.start();
  const folders = [dirname(made.file), dirname(made.spare)];
  const whileGone = (deed: () => void): void => {
    for (const folder of folders) renameSync(folder, `${folder}-away`);
    deed();
    for (const folder of folders) renameSync(`${folder}-away`, folder);
  };
  const settle = (): void => Array.from({ length: 5 }).forEach(() => store.settle());
  whileGone(() => {
    store.open("operator", "a test");
    store.end("flat");
  });
  const count = made.said.length;
  expect(made.start().current).toBeUndefined();
  expect(store.owed).toContain("the lockout of bot is on NO disk");
  settle();
  expect(store.owed).toBeUndefined();
  expect(made.start().current).toMatchObject({ reason: "a test", outcome: "flat" });
  expect(made.said.slice(count)).toEqual(["what the disk did not take of the lockout is on it now"]);
  whileGone(() => store.remove());
  expect(made.start().current).toBeDefined();
  expect(store.owed).toContain("the next supervisor would lock the bot again");
  settle();
  expect(made.start().current).toBeUndefined();
});

test("LockoutStore.retry() brings a lockout at once to a disk that takes it again, and isOnDisk says whether one has it", () => {
  using made = rig();
  const store = made.start();
  const folders = [dirname(made.file), dirname(made.spare)];
  for (const folder of folders) renameSync(folder, `${folder}-away`);
  store.open("operator", "a test");
  store.retry();
  expect(store.isOnDisk).toBe(false);
  rmSync(dirname(made.file), { recursive: true, force: true });
  for (const folder of folders) renameSync(`${folder}-away`, folder);
  store.retry();
  expect({ owed: store.owed, isOnDisk: store.isOnDisk }).toEqual({ owed: undefined, isOnDisk: true });
  expect(made.start().current).toMatchObject({ reason: "a test" });
});

test.each([
  ["its slot alone", ["file"], /^the lockout of bot is on the disk, in \S+lock\.slot, and holds; its copy for people/],
  ["its file alone", ["slot"], /^the lockout of bot is on the disk, in \S+lock\.json, and holds; its slot/],
  ["the spare file alone", ["slot", "file"], /^the lockout of bot is in \S+ alone, which a reboot may empty/],
  ["no disk", ["slot", "file", "spare"], /^the lockout of bot is on NO disk: .* the next one would start the bot/],
] as const)("LockoutStore says once, and truly, that a lockout is in %s", (_, spoilt, said) => {
  using made = rig();
  const store = made.start();
  // A folder in the place of a file keeps out everybody.
  for (const each of spoilt) {
    rmSync(made[each], { force: true });
    mkdirSync(join(made[each], "full"), { recursive: true });
  }
  store.open("operator", "a test");
  store.open("operator", "a test, and the bot is proven dead");
  store.end("flat");
  expect(made.said).toEqual([expect.stringMatching(said)]);
  expect(store.owed).toMatch(said);
  for (const each of spoilt) rmSync(made[each], { recursive: true });
  Array.from({ length: 5 }).forEach(() => store.settle());
  expect(store.owed).toBeUndefined();
  expect(made.said.slice(1)).toEqual(["what the disk did not take of the lockout is on it now"]);
  expect(made.start().current).toMatchObject({ outcome: "flat" });
});

test.each([
  ["ends a lockout that was ended while its folder was away", "abc1234", false],
  ["leaves a lockout that it does not know where it is", "xyz9876", true],
])("LockoutStore.renew() %s", (_, incident, holds) => {
  using made = rig();
  const store = made.start();
  store.open("operator", "a test");
  store.end("flat");
  const away = `${made.dir}-away`;
  renameSync(made.dir, away);
  mkdirSync(made.dir);
  store.renew();
  store.remove();
  rmSync(made.dir, { recursive: true });
  renameSync(away, made.dir);
  for (const path of [made.file, made.slot])
    writeFileSync(path, readFileSync(path, "utf8").replace("abc1234", incident));
  store.renew();
  expect(made.start().current !== undefined).toBe(holds);
});

test("LockoutStore refuses a bot for whose lockout there is no room, and no close", () => {
  using made = rig();
  rmSync(made.dir, { recursive: true });
  expect(() => made.start()).toThrow("cannot supervise bot: no room can be taken for its lockout: cannot write ");
  const store = made.start({ closesOnly: true });
  store.open("operator", "a test");
  expect(store.owed).toContain(`the lockout of bot is in ${made.spare} alone`);
});

test("LockoutStore.renew() writes what holds into a state folder in which nothing of the bot is", () => {
  using made = rig();
  const store = made.start();
  store.open("operator", "a test");
  rmSync(dirname(made.dir), { recursive: true });
  store.renew();
  expect(made.said).toEqual([]);
  expect(made.start().current).toMatchObject({ incident: "abc1234" });
});
