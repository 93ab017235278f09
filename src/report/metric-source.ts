/** Where a metric is read from: each `of…` makes one row's labels and samples of a reading of the status object. */
import { CLOSE_EXIT } from "../core/close-job.ts";
import { knownCounts, RESTART_REASONS } from "../core/restart-reason.ts";
import type { BackupStatus, BotStatus, Status } from "../core/status.ts";
import type { OwnUsage } from "../platform/own-usage.ts";
import type { Family, Sample } from "./exposition.ts";

export interface ConfigRead {
  /** Of the start, or of the last reload since; a dry run is none. */
  readonly success: boolean;
  readonly lastSuccessAt: Date;
}

/** What the metrics are read from: the status, and what only a scrape asks for. */
export interface Reading extends Status {
  /** What the supervisor itself uses. Absent where nobody measured it: its metrics have no sample then. */
  readonly own?: OwnUsage;
  /** The last try to read the config. Absent as `own`. */
  readonly configRead?: ConfigRead;
}

/** One metric: what stands above its samples, and how they are read. */
export interface Row extends Omit<Family, "samples"> {
  /** Names of the labels, in order. */
  readonly labels: readonly string[];
  readonly read: (reading: Reading) => readonly Sample[];
}

type Probe = BotStatus["probes"][number];
type Source = Pick<Row, "labels" | "read">;

/** Stands for "no value now": a comparison with it is false, so that no alert fires on what is not known. */
const NONE = Number.NaN;

/** A value that rises and falls. */
export function gauge(name: string, help: string, source: Source): Row {
  return { name, help, type: "gauge", ...source };
}

/** A count that only rises while the supervisor lives; its name ends in `_total`. */
export function counter(name: string, help: string, source: Source): Row {
  return { name, help, type: "counter", ...source };
}

/** One sample without labels. */
export function ofDaemon(read: (supervisor: Status["supervisor"]) => number): Source {
  return { labels: [], read: ({ supervisor }) => [{ labels: {}, value: read(supervisor) }] };
}

/** One sample of the supervisor's own process, or none; `undefined` is NaN. */
export function ofOwn(read: (own: OwnUsage) => number | undefined): Source {
  return { labels: [], read: ({ own }) => (own === undefined ? [] : [{ labels: {}, value: read(own) ?? NONE }]) };
}

/** One sample of the last try to read the config, or none. */
export function ofConfigRead(read: (config: ConfigRead) => number): Source {
  return {
    labels: [],
    read: ({ configRead }) => (configRead === undefined ? [] : [{ labels: {}, value: read(configRead) }]),
  };
}

type Machine = NonNullable<Status["supervisor"]["machine"]>;

/** As `ofDaemon`; NaN where the machine is not watched. */
export function ofMachine(read: (machine: Machine) => number): Source {
  return ofDaemon(({ machine }) => (machine === undefined ? NONE : read(machine)));
}

/** A sample for each resource, 0 to 1. */
export function ofPressure(): Source {
  return {
    labels: ["resource"],
    read: ({ supervisor: { machine } }) =>
      (["cpu", "memory", "io"] as const).map((resource) => ({
        labels: { resource },
        value: pressureOf(machine, resource),
      })),
  };
}

function pressureOf(machine: Machine | undefined, resource: "cpu" | "memory" | "io"): number {
  const { cpuSomePercent, memoryFullPercent, ioFullPercent } = machine?.pressure ?? {};
  const percent = { cpu: cpuSomePercent, memory: memoryFullPercent, io: ioFullPercent }[resource];
  return (percent ?? NONE) / 100;
}

/** A sample for each of `options`; the one that is in force is 1. */
export function daemonState(
  label: string,
  options: readonly string[],
  read: (supervisor: Status["supervisor"]) => string,
): Source {
  return { labels: [label], read: ({ supervisor }) => states(label, options, read(supervisor), {}) };
}

const ofWhom = ({ name, account }: BotStatus): Readonly<Record<string, string>> => ({ bot: name, account });

/** A sample for each bot; `null` is NaN. */
export function ofBot(read: (bot: BotStatus) => number | null): Source {
  return {
    labels: ["bot", "account"],
    read: ({ bots }) => bots.map((each) => ({ labels: ofWhom(each), value: read(each) ?? NONE })),
  };
}

/** As `ofBot`, but without a sample for a bot of which nothing is known: a counter has no gaps. */
export function ofKnownBot(read: (bot: BotStatus) => number | null | undefined): Source {
  return {
    labels: ["bot", "account"],
    read: ({ bots }) =>
      bots.flatMap((each) => {
        const value = read(each) ?? undefined;
        return value === undefined ? [] : [{ labels: ofWhom(each), value }];
      }),
  };
}

const OUTCOMES = ["accepted", "rejected", "unknown"] as const;

/** For each bot a sample for each outcome of the orders of its last close; without one NaN. */
export function ofCloseOrders(): Source {
  return {
    labels: ["bot", "account", "outcome"],
    read: ({ bots }) =>
      bots.flatMap((each) =>
        OUTCOMES.map((outcome) => ({
          labels: { ...ofWhom(each), outcome },
          value: each.emergency.lastClose?.orders[outcome] ?? NONE,
        })),
      ),
  };
}

/** For each bot a sample for each reason of a restart, also for those that none had: an increase is seen from 0 on. */
export function ofRestarts(): Source {
  return {
    labels: ["bot", "account", "reason"],
    read: ({ bots }) =>
      bots.flatMap((each) => {
        const counts = knownCounts(each.restarts.byReason, each.restarts.total);
        return RESTART_REASONS.map((reason) => ({ labels: { ...ofWhom(each), reason }, value: counts[reason] ?? 0 }));
      }),
  };
}

const ENDS: readonly string[] = [...Object.keys(CLOSE_EXIT), "failed"];

/** For each bot that has an emergency section a sample for each end of a close, also for those that none came to: an increase is seen from 0 on. */
export function ofCloses(): Source {
  return {
    labels: ["bot", "account", "outcome"],
    read: ({ bots }) =>
      bots
        .filter(({ emergency }) => emergency.state !== "off")
        .flatMap((each) =>
          ENDS.map((outcome) => ({
            labels: { ...ofWhom(each), outcome },
            value: each.emergency.closes?.[outcome] ?? 0,
          })),
        ),
  };
}

/** Without a process nothing is used; of processes that cannot be read nothing is known. */
export function ofTree(read: (resources: NonNullable<BotStatus["resources"]>) => number): Source {
  return ofBot(({ resources, pid }) => (resources === null ? (pid === null ? 0 : NONE) : read(resources)));
}

/** For each bot a sample for each of `options`. */
export function botState(label: string, options: readonly string[], read: (bot: BotStatus) => string): Source {
  return {
    labels: ["bot", "account", label],
    read: ({ bots }) => bots.flatMap((each) => states(label, options, read(each), ofWhom(each))),
  };
}

/** A sample for each target and store that it goes to; `null` is NaN. */
export function ofBackup(read: (backup: BackupStatus, all: readonly BackupStatus[]) => number | null): Source {
  return {
    labels: ["backup", "store", "type"],
    read: ({ backups }) =>
      backups.map((each) => ({
        labels: { backup: each.target, store: each.store, type: each.kind },
        value: read(each, backups) ?? NONE,
      })),
  };
}

/** For each target and store a sample for each of `options`; `null` is NaN. */
export function ofBackupBy<Option extends string>(
  label: string,
  options: readonly Option[],
  read: (backup: BackupStatus, option: Option) => number | null,
): Source {
  return {
    labels: ["backup", "store", "type", label],
    read: ({ backups }) =>
      backups.flatMap((each) =>
        options.map((option) => ({
          labels: { backup: each.target, store: each.store, type: each.kind, [label]: option },
          value: read(each, option) ?? NONE,
        })),
      ),
  };
}

/** One sample, or none without a drill in the config; `null` is NaN. */
export function ofDrill(read: (drill: NonNullable<Status["drill"]>) => number | null): Source {
  return { labels: [], read: ({ drill }) => (drill === undefined ? [] : [{ labels: {}, value: read(drill) ?? NONE }]) };
}

/** A sample for each probe of each bot; `null` is NaN. */
export function ofProbe(read: (probe: Probe) => number | null): Source {
  return {
    labels: ["bot", "account", "probe"],
    read: perProbe((labels, each) => [{ labels, value: read(each) ?? NONE }]),
  };
}

/** For each probe of each bot a sample for each of `options`. */
export function probeState(label: string, options: readonly string[], read: (probe: Probe) => string): Source {
  return {
    labels: ["bot", "account", "probe", label],
    read: perProbe((labels, each) => states(label, options, read(each), labels)),
  };
}

function perProbe(read: (labels: Sample["labels"], probe: Probe) => readonly Sample[]): Row["read"] {
  return ({ bots }) =>
    bots.flatMap((each) => each.probes.flatMap((one) => read({ ...ofWhom(each), probe: one.name }, one)));
}

/** One series for each option; the one that is in force is 1. */
function states(
  label: string,
  options: readonly string[],
  current: string,
  labels: Sample["labels"],
): readonly Sample[] {
  return options.map((option) => ({ labels: { ...labels, [label]: option }, value: Number(option === current) }));
}

/** The labels are the fact; a bot that has not ended yet has no sample. */
export function ofLastExit(): Source {
  return {
    labels: ["bot", "account", "cause", "code", "signal"],
    read: ({ bots }) => bots.flatMap(lastExitSample),
  };
}

function lastExitSample(each: BotStatus): readonly Sample[] {
  if (each.lastExit === null) return [];
  const { cause, code, signal } = each.lastExit;
  return [{ labels: { ...ofWhom(each), cause, code: String(code ?? ""), signal: signal ?? "" }, value: 1 }];
}

/** Seconds since 1970 of a time of the status; NaN for none. */
export function secondsOf(time: string | null | undefined): number {
  return time === null || time === undefined ? NONE : Date.parse(time) / 1_000;
}
