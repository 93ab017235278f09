/** What the daemon does each second, in this order, and what it does each few of them. */
import type { Clock } from "../../platform/clock.ts";
import { giveBackMemory } from "../../platform/memory.ts";
import { readMachine, type MachineReading } from "../../platform/sample-file.ts";
import { reapOrphans } from "../../platform/subreaper.ts";
import type { Backups } from "./backups.ts";
import type { FolderWatch } from "./folder-watch.ts";
import type { Fleet } from "./fleet.ts";
import type { Journal } from "./journal.ts";
import type { Listeners } from "./listeners.ts";
import type { MachineWatch } from "./machine-watch.ts";
import type { MaintenanceWatch } from "./maintenance.ts";
import type { OrderWatch } from "./order-watch.ts";
import type { Phase, ServiceManager } from "./service-manager.ts";
import type { StartOrder } from "./start-order.ts";
import type { Duty } from "./ticker.ts";

/** Every so many ticks each bot's process tree is looked at. */
const REMEMBER_TICKS = 10;
/** After so many ticks memory that only the start needed is given back, and then each half minute what is not needed any more. */
const GIVE_BACK_TICK = 3;
const GIVE_BACK_EVERY_TICKS = 30;

export interface DutiesDeps {
  readonly clock: Clock;
  readonly orders: OrderWatch;
  readonly machine: MachineWatch;
  readonly maintenance: MaintenanceWatch;
  readonly fleet: Fleet;
  readonly folder: FolderWatch;
  readonly journal: Pick<Journal, "look">;
  readonly serviceManager: ServiceManager;
  /** `undefined` before the bots are begun. */
  readonly startOrder: () => StartOrder | undefined;
  readonly backups: Backups;
  readonly listeners: Listeners;
  /** Takes in bots that a reload could not take in. */
  readonly retryMissing: () => void;
  readonly phase: () => Phase;
  /** Writes the status, if it has changed. */
  readonly keepStatus: () => void;
}

/** The duties of tick number `tick`; they count from 1. */
export function dutiesOf(deps: DutiesDeps, tick: number): readonly Duty[] {
  const { fleet, backups } = deps;
  let machine: MachineReading | undefined;
  const bots = fleet.all;
  return [
    () => lookAtFolder(deps),
    () => deps.journal.look(),
    () => deps.orders.look(),
    () => deps.machine.look(),
    () => deps.maintenance.tick(),
    ...fleet.drains(),
    () => void reapOrphans(deps.clock),
    () => deps.serviceManager.ping(deps.phase()),
    () => fleet.forgetEarlier(),
    ...bots.map((bot) => () => bot.look()),
    ...bots.map((bot) => () => bot.sample((machine ??= readMachine()))),
    () => deps.startOrder()?.look(),
    () => rareDuties(deps, tick),
    () => void (deps.phase().stopping || backups.tick()),
    ...bots.map((bot) => () => bot.guard.tick(deps.phase().stopping)),
    ...bots.map((bot) => () => bot.output.look()),
    ...bots.map((bot) => () => bot.settle()),
    () => deps.keepStatus(),
  ];
}

/** Through the sockets in a folder that went away nobody reaches the daemon, and it hears no bot. */
function lookAtFolder({ fleet, folder, listeners, phase }: DutiesDeps): void {
  if (phase().stopping || !folder.look()) return;
  listeners.renew(() => fleet.reopenSockets());
}

function rareDuties({ fleet, folder, listeners, phase, retryMissing }: DutiesDeps, tick: number): void {
  if (tick % GIVE_BACK_EVERY_TICKS === GIVE_BACK_TICK) giveBackMemory();
  if (tick % REMEMBER_TICKS !== 0) return;
  folder.sign();
  for (const bot of fleet.all) bot.tick();
  if (phase().stopping) return;
  listeners.retryWeb();
  if (folder.foreign) return;
  retryMissing();
  listeners.renew(() => fleet.reopenSockets());
}
