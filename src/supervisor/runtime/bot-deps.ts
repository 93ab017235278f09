/** What a bot is given by the daemon that it belongs to, and what it may be told to do first. */
import type { Trigger } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Controllers } from "../../platform/controllers.ts";
import type { Journal } from "./journal.ts";
import type { Pulse } from "./pulse.ts";
import type { Remains } from "./survey.ts";

export interface BotDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly journal: Journal;
  /** Folder below which bots get their cgroup; `undefined` where there is none. */
  readonly cgroupBase: string | undefined;
  /** Where the cgroups for limits are made; `undefined` when nothing will be started. */
  readonly controllers: Controllers | undefined;
  /** No other bot runs under this supervisor, so whatever orphan comes to it is this bot's. */
  readonly alone: boolean;
  /** Tells the cgroups of two supervisors on one machine apart. */
  readonly installation: string;
  /** The supervisor's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads what waits in the bot's notify socket. */
  readonly drain: () => void;
  /** Something that status shows has changed. */
  readonly onChange: () => void;
  readonly pulse: Pulse;
  /** What the state folder holds of all bots, of this config or an earlier one. */
  readonly remains: readonly Remains[];
  /** Names of all bots of the config. */
  readonly configured: ReadonlySet<string>;
  /** Something threw that should not. */
  readonly onBug: (error: unknown) => void;
}

/** An order to close positions. */
export interface Order {
  readonly trigger: Trigger;
  readonly reason: string;
}

/** How the daemon begins with a bot. */
export interface Begin {
  readonly emergency?: Order | undefined;
  readonly held?: string | undefined;
  /** Whether it should run, told by who has let go of its last start; `autostart` says it else. */
  readonly wanted?: boolean;
}
