/** What one episode is made of: bots with drawn configs, and how often which fault comes. All of it follows from the seed. */
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { planBot, type BotPlan } from "../../src/supervisor/runtime/bot-plan.ts";
import { botConfig } from "../harness/bot-config.ts";
import type { Dice } from "./dice.ts";

/** Faults that can be taken out one by one, to see which of them a violation needs. */
export const FAULTS = [
  "daemonKill",
  "midwayKill",
  "powerCut",
  "politeEnd",
  "stall",
  "freeze",
  "wallStep",
  "operator",
  "stray",
  "badBot",
  "lostMessage",
  "badVenue",
  "unkillable",
  "rename",
  "badSpawn",
  "order",
  "upgrade",
] as const;
export type Fault = (typeof FAULTS)[number];

const DIRS = { stateDir: "/sim/state", runtimeDir: "/sim/run", logDir: "/sim/log" };

/** Faults of an episode in which every bot behaves: nothing may be restarted or closed in it. */
const CALM: ReadonlySet<Fault> = new Set(["daemonKill", "stall", "freeze", "wallStep", "lostMessage", "upgrade"]);

export interface Settings {
  readonly calm: boolean;
  /** Time in which faults come, ms. */
  readonly hostileMs: number;
  readonly faults: ReadonlySet<Fault>;
  /** By account: the names under which its bot appears in turn, and the plan of each name. */
  readonly accounts: readonly Account[];
}

interface Account {
  readonly name: string;
  readonly plans: readonly [BotPlan, BotPlan];
}

const ms = (value: number): string => `${value}ms`;

export function drawSettings(dice: Dice, without: ReadonlySet<Fault>): Settings {
  const calm = dice.chance(0.15);
  const faults = new Set(FAULTS.filter((fault) => !without.has(fault) && (!calm || CALM.has(fault))));
  const accounts = ["a", "b"].slice(0, dice.between(1, 2)).map((name): Account => {
    const bot = calm ? calmBot(dice) : anyBot(dice);
    return { name, plans: [plan(`${name}1`, name, bot), plan(`${name}2`, name, bot)] };
  });
  return { calm, hostileMs: dice.between(60, 600) * 1_000, faults, accounts };
}

function anyBot(dice: Dice): object {
  const base = dice.pick([0, 1, 200, 1_000]);
  const closes = dice.chance(0.75);
  const liveness = dice.pick(["restart", "restart", closes ? "emergency" : "restart", "alert"]);
  const probes = [
    ...(dice.chance(0.7) ? [{ kind: "heartbeat", timeout: ms(dice.pick([2_000, 5_000])), period: "1s" }] : []),
    ...(dice.chance(0.4)
      ? [{ kind: "progress", timeout: "6s", period: "2s", onFailure: dice.pick(["restart", "alert"]) }]
      : []),
    ...(dice.chance(0.6)
      ? [
          {
            kind: "tcp",
            port: 1,
            period: "2s",
            timeout: "1s",
            failureThreshold: dice.between(1, 3),
            onFailure: liveness,
          },
        ]
      : []),
    ...(dice.chance(0.3)
      ? [{ kind: "tcp", name: "startup", role: "startup", port: 2, period: "1s", timeout: "500ms" }]
      : []),
  ];
  return {
    autostart: dice.chance(0.85),
    orphans: dice.chance(0.8) ? "adopt" : "stop",
    ready: readiness(dice, probes),
    startTimeout: ms(dice.pick([1_000, 5_000, 20_000])),
    stopTimeout: ms(dice.pick([500, 2_000, 10_000])),
    ...(dice.chance(0.25) ? { preStop: ["pre"] } : {}),
    ...(dice.chance(0.25) ? { postStop: ["post"] } : {}),
    restart: {
      policy: dice.pick(["always", "always", "always", "on-failure", "never"]),
      base: ms(base),
      factor: dice.pick([1, 2, 10]),
      cap: ms(Math.max(base, dice.pick([1_000, 5_000, 30_000]))),
      jitter: dice.pick([0, 0.1, 1]),
      resetAfter: ms(dice.pick([5_000, 60_000])),
      intensity: dice.pick([0, 2, 5, 20, 1_000]),
      period: ms(dice.pick([10_000, 60_000, 600_000])),
      haltExitCodes: [78],
    },
    probes,
    ...(closes ? emergency(dice.pick([5_000, 30_000, 300_000]), dice.chance(0.7)) : {}),
  };
}

function readiness(dice: Dice, probes: readonly object[]): Policy["ready"] {
  const startup = probes.some((probe) => "role" in probe && probe.role === "startup");
  return startup ? dice.pick(["probe", "started", "notify"]) : dice.pick(["started", "notify"]);
}

function emergency(closeAfterMs: number, onGiveUp: boolean): object {
  const keys = { apiKeyEnv: "KEY", apiSecretEnv: "SECRET" };
  return { emergency: { closeAfter: ms(closeAfterMs), onGiveUp, exchange: "binanceusdm", ...keys } };
}

/** Deadlines wide enough that the standstills which the simulation makes prove nothing against the bot. */
function calmBot(dice: Dice): object {
  return {
    ready: dice.pick(["started", "notify"]),
    startTimeout: "30s",
    stopTimeout: "5s",
    probes: [
      { kind: "heartbeat", timeout: "20s", period: "10s" },
      { kind: "progress", timeout: "30s", period: "10s" },
      { kind: "tcp", port: 1, period: "5s", timeout: "2s", failureThreshold: 3 },
    ],
    ...emergency(60_000, true),
  };
}

/** The bot as the real config makes it, and its policy as the real code takes it from there. */
function plan(name: string, account: string, bot: object): BotPlan {
  return planBot(name, botConfig(name, { account, ...bot }), DIRS);
}
