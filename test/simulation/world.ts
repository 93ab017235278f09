/** One simulated world: the machine, its daemon, its people, and everything that goes wrong, all drawn from one seed. */
import type { NotifyMessage } from "../../src/core/notify.ts";
import type { Input } from "../../src/supervisor/runtime/loop.ts";
import type { Behaviour } from "./behaviour.ts";
import { Dice } from "./dice.ts";
import { Machine, type Process } from "./machine.ts";
import { Oracle } from "./oracle.ts";
import { drawSettings, type Fault, type Settings } from "./settings.ts";
import type { SimulatedBot } from "./simulated-bot.ts";
import { SimulatedDaemon } from "./simulated-daemon.ts";
import type { Variant } from "./variant.ts";
import { Venue } from "./venue.ts";
import { newOwner, VirtualTime } from "./virtual-time.ts";

/** Longest time without a daemon, ms: systemd starts it again. */
const DAEMON_AWAY_MS = 4_000;

export type OperatorOrder = "start" | "stop" | "restart" | "arm" | "acceptPositions" | "acknowledge" | "emergency";

export class World {
  readonly time = new VirtualTime();
  readonly settings: Settings;
  readonly variant: Variant;
  readonly machine: Machine;
  readonly venue: Venue;
  readonly oracle: Oracle;
  /** By pid. */
  readonly behaviours = new Map<number, Behaviour>();
  /** One stream for each purpose, so that a fault that is taken out moves the others as little as possible. */
  readonly dice: Readonly<Record<"chance" | "bots" | "stray" | "kills" | "people", Dice>>;
  daemon: SimulatedDaemon | undefined;
  /** Work that belongs to nobody who can die. */
  readonly fate = newOwner();
  /** Faults still come. */
  hostile = true;
  readonly #faultDice: Dice;
  readonly #names = new Map<string, 0 | 1>();
  #stillMs = 0;
  #stillUntilMs = 0;

  constructor(seed: number, variant: Variant, without: ReadonlySet<Fault>) {
    const dice = new Dice(seed);
    this.settings = drawSettings(dice.fork(), without);
    this.dice = { chance: dice.fork(), bots: dice.fork(), stray: dice.fork(), kills: dice.fork(), people: dice.fork() };
    this.#faultDice = dice.fork();
    this.variant = variant;
    this.machine = new Machine(this.time, dice.fork());
    this.venue = new Venue(this.machine, dice.fork());
    this.venue.hostile = this.faults.has("badVenue");
    this.oracle = new Oracle(this);
  }

  /** Faults that may come now. */
  get faults(): ReadonlySet<Fault> {
    return this.hostile ? this.settings.faults : new Set();
  }

  /** Time in which the daemon was not made to stand still, ms: the time that bounds count in. */
  get movingMs(): number {
    return this.time.nowMs - this.#stillMs + Math.max(0, this.#stillUntilMs - this.time.nowMs);
  }

  /** Under which of its names the bot of an account is in the config now. */
  nameOf(account: string): 0 | 1 {
    return this.#names.get(account) ?? 0;
  }

  mainLives(account: string): boolean {
    return [...this.machine.living(account)].some(({ main }) => main);
  }

  /** As the kernel's books tell it when a main process of ours has ended. */
  provenGone({ plan }: SimulatedBot, adopted: boolean): boolean {
    return !this.variant.proofIsAsked || (!adopted && this.machine.living(plan.account).size === 0);
  }

  readonly say = (process: Process, message: NotifyMessage): void => {
    const bot = this.daemon?.bots.find(({ plan }) =>
      process.environ.includes(`SUPERVISOR_SOCKET=${plan.files.socket}`),
    );
    const vital = message.kind === "ready" && this.settings.calm;
    if (bot?.daemon.alive !== true || (!vital && this.faults.has("lostMessage") && this.dice.stray.chance(0.03)))
      return;
    bot.hear(process, message);
    if (this.faults.has("stray") && this.dice.stray.chance(0.03)) bot.hear(process, message);
  };

  /** An operator's order to the present daemon. */
  order(bot: SimulatedBot, order: OperatorOrder): void {
    if (!bot.daemon.alive || this.oracle.complaint !== undefined) return;
    const { plan, loop } = bot;
    const { state } = loop;
    if (order === "emergency" && plan.policy.emergency === undefined) return;
    const after = "after" in state ? state.after.kind : state.kind;
    const closing = ["recovering", "locked", "recover", "lock"].includes(after);
    if (order === "stop") this.oracle.wishes(plan.account, false);
    if ((order === "start" || order === "restart") && !closing) this.oracle.wishes(plan.account, true);
    this.oracle.note(() => `${plan.name}  operator: ${order}`);
    loop.post(inputOf(order));
    if (order === "emergency" && bot.daemon.alive && !this.oracle.truth(plan.account).locked)
      this.oracle.complain("an emergency was acknowledged and is not on disk");
  }

  startDaemon(): void {
    for (const { name } of this.settings.accounts)
      if (this.faults.has("rename") && this.#faultDice.chance(0.1))
        this.#names.set(name, this.nameOf(name) === 0 ? 1 : 0);
    const emergency = this.faults.has("order") && this.#faultDice.chance(0.02);
    this.oracle.daemonBegins();
    this.oracle.note(() => `a daemon begins${emergency ? " with an order to close" : ""}`);
    const daemon = new SimulatedDaemon(this);
    this.daemon = daemon;
    for (const { plan } of daemon.bots) this.oracle.wishes(plan.account, plan.config.autostart && !emergency);
    daemon.start(emergency);
    for (const { plan, loop } of daemon.bots) if (loop.state.wanted) this.oracle.truth(plan.account).wish = true;
  }

  /** A new version takes the daemon's place in its process: nothing that it counts is lost. */
  #upgrade(): void {
    const carried = this.daemon?.handOver();
    if (carried === undefined) return;
    this.oracle.note(() => "the daemon is upgraded");
    for (const account of carried.keys()) this.oracle.upgraded(account);
    this.daemon = new SimulatedDaemon(this, carried);
    this.daemon.start(false);
  }

  daemonDied(): void {
    this.oracle.note(() => "the daemon is dead");
    this.time.in(this.#faultDice.between(1, DAEMON_AWAY_MS), this.fate, () => this.startDaemon());
  }

  /** From now on nothing new goes wrong; what is wrong already stays so for its bounded time. */
  calmDown(): void {
    this.hostile = false;
    this.venue.hostile = false;
    this.oracle.note(() => "everybody behaves from here on");
  }

  /** Sets the faults of the episode going; each comes again and again until everybody behaves. */
  unleash(): void {
    const every = (fault: Fault, meanMs: number, deed: () => void): void => {
      if (!this.settings.faults.has(fault)) return;
      const dice = this.#faultDice.fork();
      const next = (): void =>
        void this.time.in(dice.wait(meanMs) + (this.settings.calm ? 3_000 : 0), this.fate, () => {
          if (!this.hostile) return;
          deed();
          next();
        });
      next();
    };
    every("daemonKill", 60_000, () => this.daemon?.die());
    every("politeEnd", 200_000, () => {
      const [bot] = this.#bots;
      if (bot !== undefined) this.#reach(bot, () => bot.daemon.end());
    });
    every("powerCut", 300_000, () => this.#powerCut());
    every("stall", 40_000, () => this.#standStill("daemon", this.#faultDice.between(100, 15_000)));
    every("freeze", 60_000, () => this.#standStill("machine", this.#faultDice.between(100, 15_000)));
    every("operator", 15_000, () => this.#operate());
    every("stray", 3_000, () => this.#bots.forEach((bot) => this.#reach(bot, () => bot.stray())));
    every("upgrade", 20_000, () => {
      const [bot] = this.#bots;
      if (bot !== undefined) this.#reach(bot, () => this.#upgrade());
    });
    this.#stepWall();
  }

  /** What is said to a daemon that stands still is heard when it goes on. */
  #reach({ daemon }: SimulatedBot, say: () => void): void {
    this.time.in(0, daemon.owner, () => {
      if (this.hostile) say();
    });
  }

  get #bots(): readonly SimulatedBot[] {
    return this.daemon?.alive === true ? this.daemon.bots : [];
  }

  #powerCut(): void {
    this.oracle.note(() => "the power is cut");
    this.machine.powerCut();
    this.venue.powerCut();
    this.daemon?.die();
  }

  /** The daemon alone is stopped, or the whole machine with it. Monotonic time goes on. */
  #standStill(who: "daemon" | "machine", forMs: number): void {
    const untilMs = this.time.nowMs + forMs;
    this.#stillMs += Math.max(0, untilMs - Math.max(this.#stillUntilMs, this.time.nowMs));
    this.#stillUntilMs = Math.max(this.#stillUntilMs, untilMs);
    this.oracle.note(() => `the ${who} stands still for ${forMs} ms`);
    const owners = [
      ...(this.daemon === undefined ? [] : [this.daemon.owner]),
      ...(who === "machine" ? [this.machine.owner] : []),
    ];
    for (const owner of owners) owner.frozenUntilMs = Math.max(owner.frozenUntilMs, untilMs);
  }

  #operate(): void {
    const dice = this.dice.people;
    const orders = [
      "start",
      "start",
      "stop",
      "restart",
      "arm",
      "arm",
      "acknowledge",
      "acceptPositions",
      "acceptPositions",
      "emergency",
    ] as const;
    for (const bot of this.#bots) {
      const order = dice.pick(orders);
      if (dice.chance(0.7)) this.#reach(bot, () => this.order(bot, order));
    }
  }

  /** The wall clock is stepped, drawn apart from everything else: with or without it an episode must be the same. */
  #stepWall(): void {
    if (!this.settings.faults.has("wallStep")) return;
    const dice = new Dice(this.settings.hostileMs);
    const next = (): void =>
      void this.time.in(dice.wait(20_000), this.fate, () => {
        if (!this.hostile) return;
        this.time.wallOffsetMs += dice.between(-7_200_000, 7_200_000);
        next();
      });
    next();
  }
}

function inputOf(order: OperatorOrder): Input {
  switch (order) {
    case "arm":
      return { kind: "arm", acceptPositions: false };
    case "acceptPositions":
      return { kind: "arm", acceptPositions: true };
    case "acknowledge":
      return { kind: "acknowledge" };
    case "emergency":
      return { kind: "emergency", trigger: "operator", reason: "an operator asked for it" };
    case "start":
    case "stop":
    case "restart":
      return { kind: order };
  }
}
