/** Every file that the daemon reads, spoiled while it was dead: the next one says so, keeps a copy, and never runs two bots or a locked one. */
import { cpSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { isLive } from "../../src/platform/proc.ts";
import { FORBIDDEN, SPOILED_CONTENTS, withKeys, WRONG_KINDS, type Damage } from "./damage.ts";
import { script } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { processesOfBot } from "./processes.ts";

/** Where in the file the damage is; each story has its own. */
const ROLLS = [0.31, 0.62, 0.93];

interface Row {
  /** Below the state folder. */
  readonly file: string;
  /** Tells rows of one file apart. */
  readonly label: string;
  readonly damages: readonly Damage[];
  /** A copy of what was spoiled lies beside it afterwards, for these. */
  readonly kept: readonly Damage[];
  /** The daemon refuses to start over these and touches nothing. */
  readonly refused?: readonly Damage[];
}

const NEWER = withKeys("of a newer release", { version: 2, novelty: true });
const ELSEWHERE = withKeys("of another machine", { bootId: "00000000-0000-0000-0000-000000000000", cgroup: null });
const NAMESPACE = withKeys("of another pid namespace", { pid: 1, startTimeTicks: 1 });
const KINDS = WRONG_KINDS.slice(0, 2);
const EVERY = [...SPOILED_CONTENTS, ...WRONG_KINDS, FORBIDDEN];
/** Damage that leaves no doubt: a flipped bit may leave a file that still reads, as may a cut last newline. */
const PLAIN = [...SPOILED_CONTENTS.filter(({ name }) => name !== "flipped"), ...KINDS];

/** It is padded with blanks: cut in the middle, it is whole. */
const PLAIN_IDENTITY = PLAIN.filter(({ name }) => name !== "truncated");

const rows: readonly Row[] = [
  { file: "bots/bot/identity.json", label: "", damages: [...EVERY, ELSEWHERE, NAMESPACE], kept: PLAIN_IDENTITY },
  { file: "bots/bot/identity.json", label: ": of a newer release", damages: [NEWER], kept: [], refused: [NEWER] },
  { file: "journal/000001.ndjson", label: "", damages: EVERY, kept: [] },
  {
    file: "journal",
    label: "",
    damages: [...WRONG_KINDS.slice(1), ...SPOILED_CONTENTS.slice(3, 4).map(inPlaceOfFolder)],
    kept: WRONG_KINDS.slice(1),
  },
  { file: "status.json", label: "", damages: EVERY, kept: KINDS },
  { file: "installation.json", label: "", damages: EVERY, kept: PLAIN },
  { file: "installation.json", label: ": of a newer release", damages: [NEWER], kept: [], refused: [NEWER] },
  {
    file: "supervisor.lock",
    label: "",
    damages: [...SPOILED_CONTENTS, ...KINDS, FORBIDDEN],
    kept: [],
    refused: KINDS.slice(0, 1),
  },
  { file: "bots/bot/output.json", label: "", damages: EVERY, kept: KINDS },
  { file: "bots/bot/runs.ndjson", label: "", damages: EVERY, kept: KINDS },
  {
    file: "bots/bot/exits",
    label: "",
    damages: [...KINDS.slice(1), inPlaceOfFolder(SPOILED_CONTENTS[3] ?? FORBIDDEN)],
    kept: KINDS,
  },
  { file: "log/bot.log", label: "", damages: EVERY, kept: [] },
  {
    file: "run/control.sock",
    label: "",
    damages: [...SPOILED_CONTENTS.slice(2), ...WRONG_KINDS].map(instead),
    kept: KINDS,
  },
  {
    file: "run/bots/bot.notify",
    label: "",
    damages: [...SPOILED_CONTENTS.slice(2), ...WRONG_KINDS].map(instead),
    kept: KINDS,
  },
  {
    file: "run/bots/bot.sock",
    label: "",
    damages: [...SPOILED_CONTENTS.slice(2), ...WRONG_KINDS].map(instead),
    kept: KINDS,
  },
  { file: "run/bots/bot.level", label: "", damages: EVERY, kept: KINDS },
  { file: "run/bots/bot.no-new-orders", label: "", damages: KINDS, kept: KINDS },
];

/** A file where a socket was. */
function instead(damage: Damage): Damage {
  return {
    name: damage.name,
    spoil(path, roll) {
      rmSync(path, { recursive: true, force: true });
      damage.spoil(path, roll);
    },
  };
}

/** A file where a folder was. */
function inPlaceOfFolder(damage: Damage): Damage {
  return instead(damage);
}

function copiesOf(path: string): string[] {
  return readdirSync(dirname(path)).filter(
    (name) => name.startsWith(`${basename(path)}.damaged-`) && !name.endsWith(".reason"),
  );
}

/** Exactly one process of the bot lives, status names it, and no two ever ran at a time. */
async function expectOneBot(rig: Rig): Promise<BotStatus> {
  const bot = await rig.botUntil("the bot runs", ({ state }) => state === "running");
  // The script's own helpers live for a moment.
  await until("the bot is alone", () => processesOfBot("bot", rig.folder).join() === String(bot.pid));
  expect(rig.read("starts")).not.toContain("overlap");
  expect(rig.read("daemon.err")).not.toContain("internal error");
  return bot;
}

/** What a failing expectation was about. */
async function about(what: string, deed: () => Promise<void>): Promise<void> {
  try {
    await deed();
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** The commands that read files by themselves say something of it, and end. */
async function expectReadable(rig: Rig): Promise<void> {
  for (const { code, err } of await Promise.all([rig.cli("status"), rig.cli("events"), rig.cli("logs", "bot")])) {
    expect([0, 1, 2, 3]).toContain(code);
    expect(err).not.toContain("internal error");
  }
}

/** The daemon does not start over it, names it, and leaves the bot alone; with the good file it adopts the bot. */
async function expectRefused(rig: Rig, path: string, spoil: () => void): Promise<void> {
  const { pid } = await rig.bot().catch(() => ({ pid: processesOfBot("bot", rig.folder)[0] }));
  const good = rig.path("good");
  cpSync(path, good, { recursive: true });
  spoil();
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toContain(path);
  expect(isLive(pid ?? 0)).toBe(true);
  rmSync(path, { recursive: true, force: true });
  cpSync(good, path, { recursive: true });
  rmSync(good, { recursive: true });
  await rig.run();
  await rig.botUntil("the bot is adopted", (bot) => bot.adopted && bot.pid === pid);
}

async function expectSurvived(rig: Rig, path: string, spoil: () => void): Promise<number> {
  const known = copiesOf(path).length;
  spoil();
  await expectReadable(rig);
  await rig.run();
  await expectOneBot(rig);
  await expectReadable(rig);
  return copiesOf(path).length - known;
}

test.concurrent.each(rows)("a spoiled $file neither doubles the bot nor stops the supervisor$label", async (row) => {
  await using rig = new Rig();
  rig.configure({ bot: { command: script("one-at-a-time.sh", rig.path("starts")) } });
  await rig.run();
  const path = rig.state(row.file);
  let least = 1;
  for (const [index, damage] of row.damages.entries()) {
    const spoil = (): void => damage.spoil(path, ROLLS[index % ROLLS.length] ?? 0.5);
    await about(`${row.file} ${damage.name}`, async () => {
      const { generation } = await expectOneBot(rig);
      expect(generation).toBeGreaterThanOrEqual(least);
      least = row.file.endsWith("runs.ndjson") ? 1 : generation;
      await rig.endDaemon("SIGKILL");
      if (row.refused?.includes(damage) === true) return expectRefused(rig, path, spoil);
      const copies = await expectSurvived(rig, path, spoil);
      const fewest = row.kept.includes(damage) ? 1 : 0;
      expect(copies).toBeGreaterThanOrEqual(fewest);
      return undefined;
    });
  }
});

const lockDamages = [...EVERY, NEWER, withKeys("of another account", { account: "elsewhere", bot: "other" })];

test.concurrent.each([
  { which: "the file of its lockout", spoiled: ["bots/bot/lock.json"] },
  { which: "the slot of its lockout", spoiled: ["bots/bot/lock.slot"] },
  { which: "both copies of its lockout", spoiled: ["bots/bot/lock.json", "bots/bot/lock.slot"] },
  { which: "the only copy of its lockout", spoiled: ["bots/bot/lock.slot"], missing: ["bots/bot/lock.json"] },
])("a locked bot stays locked when $which is spoiled, at the next start and at the one after it", async (story) => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: ["sleep", "600"], emergency: emergencyAt(paper.url) } } });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  const locked = rig.path("locked");
  cpSync(rig.state("bots"), locked, { recursive: true });
  for (const [index, damage] of lockDamages.entries()) {
    rmSync(rig.state("bots"), { recursive: true });
    cpSync(locked, rig.state("bots"), { recursive: true });
    for (const file of story.missing ?? []) rmSync(rig.state(file));
    for (const file of story.spoiled) damage.spoil(rig.state(file), ROLLS[index % ROLLS.length] ?? 0.5);
    for (const life of ["first", "second"])
      await about(`${story.spoiled.join(" and ")} ${damage.name}, ${life} start`, () => expectLocked(rig));
  }
});

/** One life of a daemon in which the bot is locked and is not started. */
async function expectLocked(rig: Rig): Promise<void> {
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "locked", pid: null, generation: 0 });
  expect((await rig.cli("start", "bot")).code).toBe(1);
  await rig.endDaemon("SIGKILL");
  expect(rig.read("daemon.err")).not.toContain("internal error");
  expect(processesOfBot("bot", rig.folder)).toEqual([]);
}

test.concurrent("a person ends a lockout whose files are spoiled, and what was spoiled is kept", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: ["sleep", "600"], emergency: emergencyAt(paper.url) } } });
  for (const damage of [...SPOILED_CONTENTS.slice(2), ...KINDS])
    await about(damage.name, () => expectArmed(rig, damage));
  expect(paper.state()).toMatchObject({ flips: [], violations: [] });
});

async function expectArmed(rig: Rig, damage: Damage): Promise<void> {
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  const files = ["bots/bot/lock.json", "bots/bot/lock.slot"].map((file) => rig.state(file));
  const known = files.map((file) => copiesOf(file).length);
  for (const file of files) damage.spoil(file, 0.5);
  await rig.run();
  expect((await rig.cli("arm", "bot", "--reason", "damaged disk")).code).toBe(1);
  expect((await rig.cli("arm", "bot", "--reason", "looked", "--accept-positions")).code).toBe(0);
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  expect(files.map((file) => copiesOf(file).length)).toEqual(known.map((count) => count + 1));
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
}
