/**
 * One account, one bot, as a property: daemons on one state folder or on copies of it, bots that are renamed or swap their
 * accounts, identities that are lost, disks that are full, daemons that are killed amid a start, in any order. What judges is real
 * (adoption, kin, strangers, marks); the machine is a model. One thing is left out: a rename beside a running copy of the folder,
 * which only the socket of the supervisor there tells (`refuseSupervised`). Of bots that an older release has started, which do not
 * carry their account, two more: a name that gets another account while its bot lives and its identity is lost, and a full disk.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeAdoption } from "../../../src/core/adoption.ts";
import { isKnownOn, NO_PROCESS, type Identity } from "../../../src/core/identity.ts";
import {
  accountMark,
  definitionOf,
  fenceMarks,
  planBot,
  type BotPlan,
} from "../../../src/supervisor/runtime/bot-plan.ts";
import { earlierMarks, isStranger, kinMarks, kinOf, type Remains } from "../../../src/supervisor/runtime/survey.ts";
import { botConfig } from "../../harness/bot-config.ts";

interface Process {
  readonly pid: number;
  readonly name: string;
  readonly account: string;
  readonly folder: string;
  readonly environ: readonly string[];
  readonly invocationId: string;
}
interface Bot {
  readonly plan: BotPlan;
  /** What a sweep looks for. */
  marks: readonly string[];
  state: "down" | "sweeping" | "up";
  pid: number | undefined;
  /** Whose account the identity on disk names, as its daemon knows. */
  accountOnDisk: string | undefined;
}
interface Daemon {
  readonly configured: Config;
  readonly bots: readonly Bot[];
}
type Config = Readonly<Record<string, string>>;

/** The account of each bot; no two share one, as the config demands. */
const CONFIGS: readonly Config[] = [{ a: "x" }, { b: "x" }, { a: "x", b: "y" }, { a: "y", b: "x" }, { b: "y" }];
const FOLDERS = ["/one", "/two", "/three"];
const START_TICKS = 1;
const OPS = [
  "run",
  "run",
  "crash",
  "exit",
  "elapse",
  "elapse",
  "sweep",
  "sweep",
  "copy",
  "lose",
  "barelyStart",
  "halfStart",
  "fill",
  "reboot",
] as const;
const script = fc.array(fc.record({ op: fc.constantFrom(...OPS), i: fc.nat(59), j: fc.nat(59) }), {
  maxLength: 60,
  size: "max",
});

/** What judges; a test may break one of them, to prove that the property bites. */
const announced = (identity: Identity): Identity | undefined => ({ ...identity, ...NO_PROCESS });
const asTheyAre = { judgeAdoption, kinOf, kinMarks, earlierMarks, isStranger, announced };
type Judges = typeof asTheyAre;

class Machine {
  /** By folder, then by bot: `undefined` is a folder of a bot whose identity is not there or not to be read. */
  readonly disks = new Map<string, Map<string, Identity | undefined>>(FOLDERS.map((folder) => [folder, new Map()]));
  readonly daemons = new Map<string, Daemon>();
  /** Folders on which nothing can be written. */
  readonly full = new Set<string>();
  processes: Process[] = [];
  starts = 0;
  boot = 1;
  readonly #judges: Judges;
  /** Bots carry the mark of their account, as those that an older release has started do not. */
  readonly #marked: boolean;

  constructor(judges: Judges, marked: boolean) {
    this.#judges = judges;
    this.#marked = marked;
  }

  /** `supervisor run`: the lock, then strangers and doubt, then adoption, leftovers or a start. */
  run(folder: string, wanted: Config): void {
    if (this.daemons.has(folder)) return;
    const configured = [...this.daemons.values()][0]?.configured ?? wanted;
    const disk = this.#disk(folder);
    const known = ({ folder: home, name, account }: Process): boolean => {
      const told = this.#marked || disk.get(name) !== undefined || configured[name] === undefined;
      return (home === folder && told) || configured[name] === account;
    };
    if (!this.processes.every(known)) return;
    const plans = Object.entries(configured).map(([name, account]) => planOf(folder, name, account));
    const remains = [...disk].map(([name, identity]) => remainsOf(folder, name, identity));
    if (plans.some((plan) => this.#strangers(plan).length > 0)) return;
    const bots = plans.map((plan): Bot => {
      const names = new Set(Object.keys(configured));
      const kin = this.#judges.kinOf(plan, remains, names);
      const all = this.#judges.earlierMarks(plan, disk.get(plan.name), this.#judges.kinMarks(kin, names));
      const marks = all.flatMap(({ environ }) => environ);
      return { plan, marks, state: "down", pid: undefined, accountOnDisk: disk.get(plan.name)?.account };
    });
    this.daemons.set(folder, { configured, bots });
    for (const bot of bots) this.#begin(folder, bot);
  }

  #begin(folder: string, bot: Bot): void {
    const identity = this.#disk(folder).get(bot.plan.name);
    const seen = this.processes.find(({ pid }) => pid === identity?.pid);
    const kind = identity && this.#judges.judgeAdoption(identity, this.#sighting(seen), termsOf(bot.plan)).kind;
    bot.state = "down";
    if (kind === "adopt") [bot.state, bot.pid] = ["up", seen?.pid];
    else if (this.#carrying(bot.marks).length > 0) bot.state = "sweeping";
    else this.start(folder, bot);
  }

  #sighting(seen: Process | undefined): Parameters<typeof judgeAdoption>[1] {
    const startTimeTicks = seen === undefined ? undefined : START_TICKS;
    return { bootId: `boot-${this.boot}`, startTimeTicks, invocationId: seen?.invocationId, inCgroup: false };
  }

  /** The present daemon's start of a bot that is down. It may be killed before the process is there, or before its identity is. */
  start(folder: string, bot: Bot, killed: "no" | "before" | "after" = "no"): void {
    if (bot.state !== "down" || this.#strangers(bot.plan).length > 0) return;
    const { name, account } = bot.plan;
    this.starts += 1;
    const [pid, invocationId] = [this.starts, `i${this.starts}`];
    const identity = identityOf(bot.plan, { pid, invocationId, bootId: `boot-${this.boot}` });
    this.#write(folder, bot, this.#judges.announced(identity));
    if (this.full.has(folder) && !isKnownOn(bot.accountOnDisk, account)) return;
    if (killed !== "no") this.daemons.delete(folder);
    if (killed === "before") return;
    const { files } = bot.plan;
    const ofAccount = this.#marked ? [accountMark(files, account)] : [];
    const environ = [...fenceMarks(files, invocationId), ...ofAccount, `SUPERVISOR_BOT=${name}`];
    this.processes.push({ pid, name, account, folder, environ, invocationId });
    [bot.state, bot.pid, bot.marks] = ["up", pid, fenceMarks(bot.plan.files, invocationId)];
    if (killed === "no") this.#write(folder, bot, identity);
  }

  #write(folder: string, bot: Bot, identity: Identity | undefined): void {
    if (identity === undefined || this.full.has(folder)) return;
    this.#disk(folder).set(bot.plan.name, identity);
    bot.accountOnDisk = identity.account;
  }

  /** Everything that carries the marks is dead, and only then the bot is started. */
  sweep(folder: string, bot: Bot): void {
    if (bot.state !== "sweeping") return;
    for (const { pid } of this.#carrying(bot.marks)) this.exit(pid);
    bot.state = "down";
    this.start(folder, bot);
  }

  /** A process ends, and its daemon waits out the backoff. */
  exit(pid: number): void {
    this.processes = this.processes.filter((each) => each.pid !== pid);
    for (const { bots } of this.daemons.values()) for (const bot of bots) if (bot.pid === pid) bot.state = "down";
  }

  /** Nobody copies over a folder whose daemon or bots live. */
  copy(from: string, to: string): void {
    if (!this.daemons.has(to) && this.processes.every(({ folder }) => folder !== to))
      this.disks.set(to, new Map(this.#disk(from)));
  }

  lose(folder: string, name: string): void {
    if (this.#disk(folder).has(name)) this.#disk(folder).set(name, undefined);
  }

  /** It is full, or there is room again. */
  fill(folder: string): void {
    if (!this.full.delete(folder) && this.#marked) this.full.add(folder);
  }

  reboot(): void {
    this.boot += 1;
    this.processes = [];
    this.daemons.clear();
  }

  #disk(folder: string): Map<string, Identity | undefined> {
    return this.disks.get(folder) ?? new Map<string, Identity | undefined>();
  }

  #carrying(marks: readonly string[]): readonly Process[] {
    return this.processes.filter(({ environ }) => environ.some((mark) => marks.includes(mark)));
  }

  #strangers(plan: BotPlan): readonly Process[] {
    return this.processes.filter(({ environ }) =>
      this.#judges.isStranger(plan, environ.join("\0"), () => plan.config.cwd),
    );
  }
}

const plans = new Map<string, BotPlan>();
/** The plan of a bot under a state folder; made once, since the schema is slow. */
function planOf(folder: string, name: string, account: string): BotPlan {
  const key = `${folder} ${name} ${account}`;
  const dirs = { stateDir: folder, runtimeDir: `${folder}/run`, logDir: `${folder}/log` };
  const plan = plans.get(key) ?? planBot(name, botConfig(name, { account }), dirs);
  plans.set(key, plan);
  return plan;
}

function remainsOf(folder: string, name: string, identity: Identity | undefined): Remains {
  const { files } = planOf(folder, name, identity?.account ?? "nobody's");
  const identityReading =
    identity === undefined ? ({ kind: "absent" } as const) : ({ kind: "known", identity } as const);
  return { name, files, identity, identityReading, lockout: undefined, lockoutFiles: [] };
}

const termsOf = (plan: BotPlan): Parameters<typeof judgeAdoption>[2] => ({
  orphans: "adopt",
  definition: definitionOf(plan, {}),
  account: plan.account,
  sameUser: true,
  sameSockets: true,
  wasStopping: false,
});

const identityOf = (plan: BotPlan, start: Pick<Identity, "pid" | "invocationId" | "bootId">): Identity => ({
  version: 1,
  account: plan.account,
  startTimeTicks: START_TICKS,
  generation: 1,
  ready: true,
  definition: definitionOf(plan, {}),
  cgroup: null,
  restarts: 0,
  ...start,
});

type Line = { readonly op: (typeof OPS)[number]; readonly i: number; readonly j: number };

function at<T>(list: readonly T[], index: number): T | undefined {
  return list[index % Math.max(1, list.length)];
}

function play(machine: Machine, { op, i, j }: Line): void {
  const folder = at(FOLDERS, i) ?? "/one";
  const bot = at(machine.daemons.get(folder)?.bots ?? [], j);
  switch (op) {
    case "run":
      return machine.run(folder, at(CONFIGS, j) ?? {});
    case "crash":
      return void machine.daemons.delete(folder);
    case "exit":
      return machine.exit(at(machine.processes, i)?.pid ?? 0);
    case "elapse":
      return bot && machine.start(folder, bot);
    case "barelyStart":
      return bot && machine.start(folder, bot, "before");
    case "halfStart":
      return bot && machine.start(folder, bot, "after");
    case "sweep":
      return bot && machine.sweep(folder, bot);
    case "copy":
      return machine.copy(folder, at(FOLDERS, j) ?? "/two");
    case "lose":
      return machine.lose(folder, j % 2 === 0 ? "a" : "b");
    case "fill":
      return machine.fill(folder);
    case "reboot":
      return i % 10 === 0 ? machine.reboot() : undefined;
  }
}

/** Plays scripts until two bots live on one account; the answer is the most starts of a script. Throws when they do. */
function playAll(numRuns: number, marked: boolean, judges: Judges = asTheyAre): number {
  let most = 0;
  const property = fc.property(script, (lines) => {
    const machine = new Machine(judges, marked);
    for (const line of lines) {
      play(machine, line);
      const accounts = machine.processes.map(({ account }) => account);
      if (new Set(accounts).size < accounts.length) throw new Error(`two bots on one account after ${line.op}`);
    }
    most = Math.max(most, machine.starts);
  });
  fc.assert(property, { numRuns });
  return most;
}

test.each([
  ["of this release", true],
  ["of an older one", false],
])(
  "I1: no interleaving of daemons, copies, renames, full disks and lost identities makes two bots %s live on one account",
  (_, marked) => {
    // The scripts get deep: bots are started again and again, not only refused.
    expect(playAll(5_000, marked)).toBeGreaterThan(5);
  },
);

test.each<[string, Partial<Judges>]>([
  ["adopts whatever has the pid", { judgeAdoption: () => ({ kind: "adopt", outdated: false }) }],
  [
    "adopts a bot of another account",
    { judgeAdoption: (id, seen, terms) => judgeAdoption(id, seen, { ...terms, account: id.account }) },
  ],
  ["does not look under other state folders", { isStranger: () => false }],
  [
    "looks for no account",
    {
      earlierMarks: (bot, before, kin) =>
        earlierMarks(bot, before, kin).map((marks) => ({
          ...marks,
          environ: marks.environ.filter((mark) => !mark.startsWith("SUPERVISOR_ACCOUNT=")),
        })),
    },
  ],
])("the property finds a supervisor that %s", (_, broken) => {
  expect(() => playAll(50_000, true, { ...asTheyAre, ...broken })).toThrow("Property failed");
});

// What the mark of the account makes up for.
test.each<[string, Partial<Judges>]>([
  ["forgets the other names of an account", { kinOf: () => [] }],
  [
    "takes a bot without an identity for nobody's",
    { kinOf: (bot, all) => kinOf(bot, all, new Set(all.map(({ name }) => name))) },
  ],
  ["names a start only once its process is there", { announced: () => undefined }],
  [
    "names its account before the process is there, and not the start",
    { announced: (identity) => ({ ...identity, ...NO_PROCESS, invocationId: "i0" }) },
  ],
])("the property finds, among bots of an older release, a supervisor that %s", (_, broken) => {
  expect(() => playAll(50_000, false, { ...asTheyAre, ...broken })).toThrow("Property failed");
});
