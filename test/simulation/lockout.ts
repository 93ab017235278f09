/** The lockout on the simulated disk: two copies, each written whole and synced, as lockout-store.ts keeps them. */
import { gravestLockout, readLockout, type Lockout } from "../../src/core/lockout.ts";
import type { RungOutcome } from "../../src/core/ladder.ts";
import type { Trigger } from "../../src/core/lifecycle-types.ts";
import type { BotPlan } from "../../src/supervisor/runtime/bot-plan.ts";
import { lockoutSlot } from "../../src/supervisor/runtime/lockout-file.ts";
import type { Disk } from "./disk.ts";

export interface LockoutDeps {
  readonly disk: Disk;
  readonly plan: BotPlan;
  /** Files of the account's lockout under another name. */
  readonly inherited: readonly string[];
  readonly sync: boolean;
  /** Called between two writes: the daemon may be killed there, and then nothing more is written. */
  readonly goesOn: () => boolean;
}

/** The lockout's files of one bot. */
export function lockoutFilesOf(plan: BotPlan): readonly string[] {
  return [lockoutSlot(plan.files.dir), plan.files.lockout];
}

/** What the files say; `undefined` when none holds a lockout. */
export function lockoutIn(disk: Disk, files: readonly string[]): Lockout | undefined {
  return gravestLockout(files.map((file) => readLockout(disk.read(file))));
}

export class SimulatedLockout {
  readonly #deps: LockoutDeps;
  #current: Lockout | undefined;

  constructor(deps: LockoutDeps) {
    this.#deps = deps;
    this.#current = lockoutIn(deps.disk, [...lockoutFilesOf(deps.plan), ...deps.inherited]);
  }

  get current(): Lockout | undefined {
    return this.#current;
  }

  /** What a daemon that begins now would find. */
  get onDisk(): Lockout | undefined {
    const { disk, plan, inherited } = this.#deps;
    return lockoutIn(disk, [...lockoutFilesOf(plan), ...inherited]);
  }

  open(trigger: Trigger, reason: string, wallTime: Date): void {
    const { plan } = this.#deps;
    const before = this.#current;
    const goesOn = before !== undefined && before.outcome !== "flat" && before.outcome !== "lockDamaged";
    const fresh = { incident: `i${wallTime.getTime().toString(36)}`.slice(0, 12), trigger, reason };
    this.#current = {
      version: 1,
      bot: plan.name,
      account: plan.account,
      ...(goesOn ? { incident: before.incident, trigger: before.trigger, reason: before.reason } : fresh),
      lockedAt: goesOn ? before.lockedAt : wallTime.toISOString(),
      outcome: null,
      endedAt: null,
    };
    this.#save(this.#current);
  }

  end(outcome: RungOutcome, wallTime: Date): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, outcome, endedAt: wallTime.toISOString() };
    this.#save(this.#current);
  }

  acknowledge(wallTime: Date): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, acknowledgedAt: wallTime.toISOString() };
    this.#save(this.#current);
  }

  remove(): void {
    const { disk, plan, inherited, goesOn } = this.#deps;
    this.#current = undefined;
    for (const file of [...lockoutFilesOf(plan), ...inherited]) if (goesOn()) disk.remove(file);
  }

  #save(lockout: Lockout): void {
    const { disk, plan, inherited, sync, goesOn } = this.#deps;
    for (const file of lockoutFilesOf(plan)) if (goesOn()) disk.write(file, JSON.stringify(lockout), { sync });
    for (const file of inherited) if (goesOn()) disk.remove(file);
  }
}
