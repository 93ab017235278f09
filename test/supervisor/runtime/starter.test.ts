/** A bot that another supervisor has started meanwhile is not started beside it; what is on disk of a start; and where a bot is kept. Real processes. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { GONE } from "../../../src/core/adoption.ts";
import { NO_PROCESS, type Identity } from "../../../src/core/identity.ts";
import { detectCgroup, removeCgroup } from "../../../src/platform/cgroup.ts";
import { pidNamespace, topOfCgroups } from "../../../src/platform/pid-namespace.ts";
import { bootId } from "../../../src/platform/proc.ts";
import { listMarked } from "../../../src/platform/tree.ts";
import { BotLimits } from "../../../src/supervisor/runtime/bot-limits.ts";
import { fenceMarks, planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { judgeBefore } from "../../../src/supervisor/runtime/bot-setup.ts";
import { LivePlan, withPlan } from "../../../src/supervisor/runtime/live-plan.ts";
import { livingIn } from "../../../src/supervisor/runtime/fence.ts";
import { Starter, type Started, type StarterDeps } from "../../../src/supervisor/runtime/starter.ts";
import { cgroupNameOf, kinMarks, kinOf, readIdentityFile, surveyBots } from "../../../src/supervisor/runtime/survey.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "starter-")));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const dirs = { stateDir: join(root, "state"), runtimeDir: join(root, "run"), logDir: join(root, "log") };
const plan = planBot("bot", { ...botConfig("bot", { command: ["sleep", "60"] }), cwd: root }, dirs);
for (const dir of [plan.files.dir, dirname(plan.files.log)]) mkdirSync(dir, { recursive: true });

const fact = (): void => {};
const support = detectCgroup().base;

function rig(more: Partial<StarterDeps> = {}, live?: LivePlan) {
  const clock = new FakeClock();
  const deps: StarterDeps = {
    clock,
    plan,
    user: undefined,
    userError: undefined,
    cgroupBase: undefined,
    cgroupName: "bot-bot-test",
    limits: new BotLimits({
      limits: undefined,
      controllers: undefined,
      user: undefined,
      cgroupName: "bot-bot-test",
      clock,
      fact,
    }),
    env: process.env,
    fact,
    before: undefined,
    ...more,
  };
  const starter = new Starter(live === undefined ? deps : withPlan(live, deps));
  return {
    clock,
    starter,
    start: (): Started => starter.start({ generation: 1, restarts: 0, restartsBy: {} }, () => {}),
  };
}

async function end(started: Started): Promise<void> {
  if (started.kind !== "started") throw new Error(started.reason);
  started.child.signal("SIGKILL");
  await started.exited;
}

test("Starter does not start a bot that lives under another state folder by now", async () => {
  const { clock, start } = rig();
  const env = { ...process.env, SUPERVISOR_BOT: "bot", SUPERVISOR_SOCKET: "/elsewhere/bot.sock" };
  const stranger = Bun.spawn(["sleep", "60"], { cwd: root, env });
  try {
    clock.advance(1_000);
    expect(start()).toMatchObject({
      kind: "failed",
      permanent: false,
      waits: true,
      reason: expect.stringContaining(`pid ${stranger.pid} is this bot`),
    });
  } finally {
    stranger.kill("SIGKILL");
    await stranger.exited;
  }
  await end(start());
});

test("Starter says in the identity where a start was made, and no pid any more once everything of it is proven dead", async () => {
  const { starter, start } = rig();
  const started = start();
  const read = () => {
    const reading = readIdentityFile(plan.files.identity);
    return reading.kind === "known" ? reading.identity : undefined;
  };
  const place = { bootId: bootId(), pids: pidNamespace(), first: process.pid === 1, cgroups: null };
  expect(read()).toMatchObject({ place, bootId: bootId() });
  await end(started);
  starter.settle();
  expect(read()).toMatchObject({ place, bootId: bootId() });
  starter.noteGone();
  starter.settle();
  expect(read()).toMatchObject({ ...NO_PROCESS, account: plan.account, generation: 1 });
  expect(read()).not.toHaveProperty("place");
  // It was told of the last start: the next one has a process.
  starter.noteGone();
  const next = start();
  starter.settle();
  expect(read()).toMatchObject({ bootId: bootId(), place });
  await end(next);
});

test.skipIf(support === undefined)(
  "Starter names no tree of cgroups in the place of a start that could not have one: its bot's, which is empty, proves nothing of it",
  async () => {
    const cgroupBase = join(support ?? "", `starter-${process.pid}`);
    mkdirSync(cgroupBase);
    try {
      const { starter, start } = rig({ cgroupBase });
      const placeOf = () => {
        const reading = readIdentityFile(plan.files.identity);
        return reading.kind === "known" ? reading.identity.place : undefined;
      };
      const fenced = start();
      expect(placeOf()?.cgroups).toBe(topOfCgroups(cgroupBase));
      await end(fenced);
      starter.release();
      // The bot's own, and none below it.
      writeFileSync(join(cgroupBase, "cgroup.max.descendants"), "1");
      const bare = start();
      expect(placeOf()).toMatchObject({ pids: pidNamespace(), cgroups: null });
      await end(bare);
      starter.release();
    } finally {
      removeCgroup(cgroupBase);
    }
  },
);

test("Starter leaves no place in the identity of a start that could not be made", () => {
  const absent = { ...plan, config: { ...plan.config, command: [join(root, "absent")] } };
  const { starter, start } = rig({ plan: absent });
  expect(start()).toMatchObject({ kind: "failed" });
  starter.settle();
  const reading = readIdentityFile(plan.files.identity);
  expect(reading).toMatchObject({ kind: "known", identity: { ...NO_PROCESS, account: plan.account } });
  expect(reading).not.toHaveProperty("identity.place");
});

/** What the disk has of an earlier start. */
const named = (account: string): Identity => ({
  version: 1,
  ...NO_PROCESS,
  account,
  generation: 1,
  restarts: 0,
  restartsBy: {},
  invocationId: "",
  definition: "",
  ready: false,
  cgroup: null,
});

test("Starter starts nothing that the disk does not name: with another account than on disk, or of which it knows nothing", async () => {
  const folder = join(root, "unwritable");
  const identity = join(folder, "identity.json");
  // Where the new file would be is a folder, so that the old one cannot be replaced.
  mkdirSync(join(folder, `.identity.json.${process.pid}.tmp`), { recursive: true });
  const unwritable = { ...plan, files: { ...plan.files, identity } };
  const startAfter = (before: Identity | undefined): Started => {
    if (before !== undefined) writeFileSync(identity, JSON.stringify(before));
    return rig({ plan: unwritable, before }).start();
  };
  const refused = {
    kind: "failed",
    permanent: false,
    reason: expect.stringContaining(`does not say that the bot has account ${plan.account}`),
  };
  expect(startAfter(undefined)).toEqual(refused);
  expect(startAfter(named("another"))).toEqual(refused);
  expect(listMarked(fenceMarks(plan.files, undefined), undefined)).toEqual([]);
  // The bot of the account that stands there is restarted on a full disk all the same; not once the file is gone.
  await end(startAfter(named(plan.account)));
  rmSync(identity);
  expect(rig({ plan: unwritable, before: named(plan.account) }).start()).toEqual(refused);
});

test.each([
  ["the config gave it another account before", "earlier"],
  ["its account is what it was", plan.account],
])(
  "a bot whose supervisor died before it could name the process is found by the next bot of its account: %s",
  async (_, account) => {
    const past = { ...plan, account };
    await end(rig({ plan: past }).start());
    // The supervisor that dies writes nothing more once the process is there.
    const isThere = (): boolean => listMarked(fenceMarks(plan.files, undefined), undefined).length > 0;
    const started = rig({ foreign: isThere }).start();
    try {
      const pid = started.kind === "started" ? started.child.pid : undefined;
      const remains = surveyBots(dirs);
      for (const configured of [new Set(["next"]), new Set(["next", plan.name])]) {
        const kin = kinOf({ name: "next", account: plan.account }, remains, configured);
        expect(livingIn(kinMarks(kin, configured))).toEqual([pid]);
      }
    } finally {
      await end(started);
    }
  },
);

test("Starter leaves no word of another account or of an earlier process where a start fails", async () => {
  await end(rig({ plan: { ...plan, account: "earlier" } }).start());
  const config = { ...plan.config, command: [join(root, "absent")] };
  expect(rig({ plan: { ...plan, config } }).start()).toMatchObject({ kind: "failed" });
  const [remains] = surveyBots(dirs);
  expect(remains?.identity).toMatchObject({ account: plan.account, ...NO_PROCESS });
  expect(remains?.identity && judgeBefore(plan, remains.identity)).toEqual(GONE);
});

test("Starter gives a start what the environment file and a reload say by then, and the same definition for the same", async () => {
  const envFile = join(root, "bot.env");
  const live = new LivePlan({ ...plan, config: { ...plan.config, envFile } });
  const { starter } = rig({}, live);
  const seen: unknown[] = [];
  const definitions: (string | undefined)[] = [];
  const startWith = async (key: string, generation: number): Promise<void> => {
    writeFileSync(envFile, `KEY=${key}\nINVOCATION_ID=forged\n`);
    const started = starter.start({ generation, restarts: 0, restartsBy: {} }, () => {});
    await end(started);
    if (started.kind !== "started") return;
    const { KEY, MODE, SUPERVISOR_GENERATION, INVOCATION_ID } = started.env;
    seen.push([KEY, MODE, SUPERVISOR_GENERATION, INVOCATION_ID === started.invocationId]);
    definitions.push(starter.definition);
  };
  await startWith("a", 1);
  await startWith("a", 2);
  await startWith("b", 3);
  live.take({ ...live.now, config: { ...live.now.config, env: { MODE: "live" } } });
  await startWith("b", 4);
  expect(seen).toEqual([
    ["a", undefined, "1", true],
    ["a", undefined, "2", true],
    ["b", undefined, "3", true],
    ["b", "live", "4", true],
  ]);
  expect(definitions[1]).toBe(definitions[0]);
  expect(new Set(definitions).size).toBe(3);
});

test("cgroupNameOf() keeps the name of a cgroup in which the last start lives, and else takes the installation's own", () => {
  const cgroup = join(root, "bot-bot-old");
  const before = {
    version: 1,
    generation: 1,
    restarts: 0,
    account: "bot",
    bootId: bootId() ?? "",
    pid: 1,
    startTimeTicks: 1,
    invocationId: "a",
    definition: "b",
    ready: true,
    cgroup,
  } as const;
  mkdirSync(cgroup);
  const nameWith = (pids: string, more: object = {}): string => {
    writeFileSync(join(cgroup, "cgroup.procs"), pids);
    return cgroupNameOf("bot", "new", { ...before, ...more });
  };
  expect(nameWith("1\n")).toBe("bot-bot-old");
  expect(nameWith("")).toBe("bot-bot-new");
  expect(nameWith("1\n", { bootId: "another boot" })).toBe("bot-bot-new");
  expect(nameWith("1\n", { cgroup: root })).toBe("bot-bot-new");
  expect(cgroupNameOf("bot", "new", undefined)).toBe("bot-bot-new");
});
