/**
 * The words of the lifecycle: what a bot's state can be, what can happen to it, and what the shell is told to do.
 * The states are those of `supervisor status`; the rules are in lifecycle.ts.
 */
import type { Backoff, Budget } from "./restart-schema.ts";
import type { RestartLog } from "./budget.ts";
import type { CloseGoal } from "./close-goal.ts";
import type { CloseJob } from "./close-job.ts";
import type { Rung, RungOutcome } from "./ladder.ts";
import type { RestartCounts } from "./restart-reason.ts";
import type { Verdict } from "./verdict.ts";

export type Trigger = CloseJob["trigger"];

/** Everything about one bot that decides, from its config; durations in ms. */
export interface Policy {
  readonly restart: "always" | "on-failure" | "never";
  readonly backoff: Backoff;
  readonly budget: Budget;
  /** Healthy running for this long sets the backoff back to its base. */
  readonly resetAfter: number;
  /** Exit codes after which a restart is pointless. */
  readonly haltExitCodes: readonly number[];
  readonly ready: "started" | "notify" | "probe";
  readonly startTimeout: number;
  readonly stopTimeout: number;
  readonly hooks: { readonly preStop: boolean; readonly postStop: boolean };
  /** `undefined`: this bot has no positions to close; a spent budget halts it. */
  readonly emergency:
    | {
        readonly closeAfter: number;
        readonly onGiveUp: boolean;
        readonly ladder: readonly Rung[];
        /** Maintenance: nothing but a person's order closes positions. */
        readonly suspended?: boolean;
        /**
         * End of the machine's first minute, on the clock of `atMs`; absent: it is over. Network and disks may not be there yet: until
         * then no restart counts against the budget, no probe closes positions, and `closeAfter` counts from it.
         */
        readonly bootEndsAtMs?: number;
      }
    | undefined;
}

/** Why a generation ended; the first cause wins (a hung bot that is then killed died of its heartbeat). */
export interface ExitInfo {
  readonly cause: "exited" | "signal" | "oom" | "limit" | "startTimeout" | "stopped" | "spawnFailed" | ProbeCause;
  readonly code: number | null;
  readonly signal: string | null;
  readonly detail: string;
}
type ProbeCause = "heartbeat" | "progress" | `probe:${string}`;

/** What follows once the process tree is proven gone. */
export type After =
  | { readonly kind: "stay" }
  /** A counted restart: it spends budget and waits out the backoff. With `unbooked` it only waits: nothing has failed that the budget is for. */
  | { readonly kind: "restart"; readonly unbooked?: true }
  /** An operator's restart: at once, uncounted. */
  | { readonly kind: "again" }
  | { readonly kind: "halt"; readonly reason: string }
  | {
      readonly kind: "recover";
      readonly trigger: Trigger;
      readonly reason: string;
      /** Of the close; absent: that of the incident that is open, else a flat account. */
      readonly goal?: CloseGoal | undefined;
    }
  | {
      readonly kind: "lock";
      readonly outcome: RungOutcome;
      readonly trigger: Trigger;
      readonly reason: string;
      readonly acknowledged: boolean;
    };

export interface Carried {
  readonly log: RestartLog;
  /** Restarts in a row since the bot last ran healthily for `resetAfter`. */
  readonly attempt: number;
  /** Counts spawns; an event of another generation is stale and changes nothing. */
  readonly generation: number;
  /** Automatic restarts that were made since the supervisor first knew the bot. */
  readonly restarts: number;
  /** The same by what each was for. */
  readonly restartsBy: RestartCounts;
  /** The bot should run: autostart or an operator's start, and since then no operator's stop and no end that the policy lets stand. */
  readonly wanted: boolean;
  /** `closeAfter`: not counting, counting, or over and not acted on yet, for want of bad news or of a proof of death. */
  readonly closeClock: "off" | "counting" | "due";
  readonly lastExit: ExitInfo | undefined;
}

export type State = Carried &
  (
    | { readonly kind: "stopped" }
    | {
        readonly kind: "starting";
        readonly sinceMs: number;
        readonly deadlineMs: number;
        /** It was adopted: its READY=1 may have come while no supervisor listened. */
        readonly adopted?: true;
      }
    | { readonly kind: "running"; readonly health: Verdict }
    | {
        readonly kind: "stopping";
        /** `kill` is the sweep: everything of the bot is killed and the tree is proven empty. */
        readonly phase: "preStop" | "signal" | "kill" | "postStop";
        readonly after: After;
        readonly sinceMs: number;
        readonly deadlineMs: number;
      }
    | { readonly kind: "backoff"; readonly startAtMs: number }
    | {
        readonly kind: "recovering";
        readonly rung: number;
        readonly outcome: RungOutcome | undefined;
        readonly trigger: Trigger;
        readonly reason: string;
        /** What was ordered; `undefined`: everything, or what the close that goes on was ordered to reach. */
        readonly goal?: CloseGoal | undefined;
        /** An order to close everything that came meanwhile, while this close may be one that does less. */
        readonly ordered?: { readonly trigger: Trigger; readonly reason: string; readonly goal: CloseGoal } | undefined;
      }
    | { readonly kind: "halted"; readonly reason: string }
    | {
        readonly kind: "locked";
        readonly outcome: RungOutcome;
        readonly trigger: Trigger;
        readonly reason: string;
      }
    | { readonly kind: "stuck"; readonly after: After; readonly pids: readonly number[] }
  );

export type StateKind = State["kind"];
export type Of<U extends { kind: string }, K extends U["kind"]> = Extract<U, { kind: K }>;

/** One timer of each name; setting it again replaces it. */
export type Timer = "start" | "stop" | "backoff" | "stable" | "settled" | "closeAfter" | "sweep" | "retry";

/** `atMs` is monotonic ms and `roll` is in [0, 1); both come from the shell. */
export type Event = { readonly atMs: number } & (
  | { readonly kind: "start" }
  /** `why`: what the exit record says; an operator's wish where it is absent. */
  | { readonly kind: "stop"; readonly why?: string }
  /** As with `stop`. */
  | { readonly kind: "restart"; readonly why?: string }
  | {
      readonly kind: "emergency";
      readonly trigger: Trigger;
      readonly reason: string;
      /** As in `After`. */
      readonly goal?: CloseGoal | undefined;
      /** Whether the bot would run but for this, told by a daemon that has not begun with it; absent: as the state says. */
      readonly wanted?: boolean | undefined;
    }
  | { readonly kind: "arm"; readonly acceptPositions: boolean }
  /** A person knows what is still open: the slow rounds of the close end. */
  | { readonly kind: "acknowledge" }
  /** A lockout was found on disk at start; `outcome` is undefined when its close had not ended. */
  | {
      readonly kind: "lockFound";
      readonly outcome: RungOutcome | undefined;
      readonly trigger: Trigger;
      readonly reason: string;
      readonly wanted: boolean;
      /** A person has ended its slow rounds. */
      readonly acknowledged?: boolean;
      /** Of an order that was journaled and did not come to its lockout. */
      readonly goal?: CloseGoal | undefined;
    }
  /** Processes of an earlier life of the supervisor were found alive at start. */
  | { readonly kind: "leftovers"; readonly pids: readonly number[] }
  /** The version of the supervisor before this one waited to restart the bot, and this one goes on with what is left of the wait. */
  | { readonly kind: "backoffFound"; readonly leftMs: number }
  /** The bot of an earlier supervisor lives, and is beyond doubt the one: it goes on under this one. */
  | { readonly kind: "adopted"; readonly generation: number; readonly ready: boolean }
  | { readonly kind: "spawned"; readonly generation: number }
  | {
      readonly kind: "spawnFailed";
      readonly generation: number;
      readonly permanent: boolean;
      /** Nothing was tried: it waits for what is in its way. */
      readonly waits?: boolean;
      readonly reason: string;
      readonly roll: number;
    }
  | { readonly kind: "ready"; readonly generation: number }
  | { readonly kind: "verdict"; readonly generation: number; readonly health: Verdict }
  | {
      readonly kind: "failing";
      readonly generation: number;
      /** `limit`: its memory, at a quiet moment before the kernel kills. */
      readonly cause: ProbeCause | "limit";
      readonly detail: string;
      readonly action: "restart" | "emergency";
    }
  /** The bot announced its own end (`STOPPING=1`). */
  | { readonly kind: "leaving"; readonly generation: number }
  | { readonly kind: "extend"; readonly generation: number; readonly extendMs: number }
  | { readonly kind: "resetBackoff"; readonly generation: number }
  | {
      readonly kind: "exited";
      readonly generation: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly oom: boolean;
      /** Nothing of the start lived any more when it was heard: there is nobody to sweep. */
      readonly proven?: boolean;
      readonly roll: number;
    }
  /** The whole process tree of the generation is proven gone. */
  | { readonly kind: "gone"; readonly generation: number; readonly roll: number }
  | { readonly kind: "survivors"; readonly generation: number; readonly pids: readonly number[] }
  | { readonly kind: "hookEnded"; readonly generation: number; readonly hook: Hook; readonly roll: number }
  | { readonly kind: "actionEnded"; readonly action: Rung; readonly outcome: RungOutcome }
  /** A reload has replaced the policy; `countedMs` is what `closeAfter` has counted so far, `undefined` when it does not count. */
  | {
      readonly kind: "newPolicy";
      readonly before: Pick<Policy, "startTimeout" | "resetAfter">;
      readonly countedMs: number | undefined;
    }
  | { readonly kind: "elapsed"; readonly timer: Timer; readonly generation: number; readonly roll: number }
);

export type EventKind = Event["kind"];
export type Hook = "preStop" | "postStop";

export type Effect =
  | { readonly kind: "spawn"; readonly generation: number }
  /** The stop signal of the config, then SIGCONT, to the main process. */
  | { readonly kind: "askToStop" }
  /** SIGKILL everything of the bot until nothing is left; ends as `gone` or `survivors`. */
  | { readonly kind: "sweep" }
  /** Closes the books of the last start, which is proven gone; what else a sweep ends with. */
  | { readonly kind: "seal"; readonly generation: number }
  | { readonly kind: "forbidOrders" }
  | { readonly kind: "permitOrders" }
  | { readonly kind: "runHook"; readonly hook: Hook }
  /** `starting` runs startup probes only; `running` also arms the others. */
  | { readonly kind: "watch"; readonly stage: "starting" | "running" }
  | { readonly kind: "unwatch" }
  | { readonly kind: "setTimer"; readonly timer: Timer; readonly delayMs: number }
  | { readonly kind: "clearTimer"; readonly timer: Timer }
  /** Writes the lockout, fsynced, before anything is closed; an incident that is open already goes on as it is. */
  | {
      readonly kind: "openIncident";
      readonly trigger: Trigger;
      readonly reason: string;
      /** As in `After`. */
      readonly goal?: CloseGoal | undefined;
    }
  | { readonly kind: "runAction"; readonly action: Rung }
  /** Writes the outcome into the lockout, fsynced. */
  | { readonly kind: "endIncident"; readonly outcome: RungOutcome }
  /** Writes into the lockout that a person knows, fsynced. */
  | { readonly kind: "acknowledgeIncident" }
  | { readonly kind: "unlock" }
  | { readonly kind: "note"; readonly level: "info" | "warn" | "alert"; readonly text: string };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}
