/** What a bot is given by the daemon that it belongs to, and what it may be told to do first. */
import type { Order } from "../../core/first-act.ts";
import type { CarriedBot } from "../../core/upgrade.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Controllers } from "../../platform/controllers.ts";
import type { Census } from "../../platform/census.ts";
import type { Journal } from "./journal.ts";
import type { KnownSecrets } from "./known-secrets.ts";
import type { MachineWatch } from "./machine-watch.ts";
import type { Pulse } from "./pulse.ts";
import type { SharedFolders } from "./shared-folders.ts";
import type { Remains } from "./survey.ts";
import type { Held } from "./restores.ts";

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
  /** Another supervisor has the state folder by now: nothing is started, nor written there for the next start; absent: it cannot be. */
  readonly foreign?: () => boolean;
  /** Nothing is ever started, only closed; absent: bots are started. */
  readonly closesOnly?: boolean;
  /** What is in doubt about the bot holds it, as others are at stake; absent: it is an error, on which the supervisor ends. */
  readonly holdsDoubtful?: boolean;
  /** Why a restore keeps the bot down; `undefined`: none does; absent where nothing is started. */
  readonly restoring?: (bot: string) => Held | undefined;
  /** Tells the cgroups of two supervisors on one machine apart. */
  readonly installation: string;
  /** The supervisor's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads what waits in the bot's notify socket. */
  readonly drain: () => void;
  /** Something that status shows has changed. */
  readonly onChange: () => void;
  readonly pulse: Pulse;
  /** Tells what disturbed the machine that all bots share; absent where nothing is started. */
  readonly machine?: Pick<MachineWatch, "disturbance">;
  /** There is maintenance; absent where nothing closes by itself. */
  readonly suspended?: () => boolean;
  /** End of the machine's first minute on the clock; absent: it was over before. */
  readonly bootEndsAtMs?: number | undefined;
  /** What the state folder holds of all bots, of this config or an earlier one. */
  readonly remains: readonly Remains[];
  /** Names of all bots of the config. */
  readonly configured: ReadonlySet<string>;
  /** What an earlier version in this process handed over of the bot. */
  readonly carried?: CarriedBot | undefined;
  /** The supervisor of the bot's last start has stopped it, or seen its end: that it is gone is no news. */
  readonly endedCleanly?: boolean;
  /** Who lives now, read once for all bots that are made at the same time; `undefined`: looked up for this one. */
  readonly census?: Census;
  /** What is known of the folders of all bots, where some are made at the same time. */
  readonly shared?: SharedFolders;
  /** The supervisor's own version. */
  readonly version: string;
  /** Everything that must not stand in a dump. */
  readonly secrets: () => KnownSecrets;
  /** Something threw that should not. */
  readonly onBug: (error: unknown) => void;
}

/** How the daemon begins with a bot. */
export interface Begin {
  readonly emergency?: Order | undefined;
  readonly held?: string | undefined;
  /** Bots that are to be ready before its first start. */
  readonly waitsFor?: readonly string[];
  /** As in `BotDeps`: of a moment ago. */
  readonly census?: Census;
  /** Whether it should run, told by who has let go of its last start; `autostart` says it else. */
  readonly wanted?: boolean;
}
