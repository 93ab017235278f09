/** The supervisor as it is, and how a simulation may be told to break it, to prove that it would notice. */
import { Loop, type LoopDeps } from "../../src/supervisor/runtime/loop.ts";

export interface Variant {
  readonly makeLoop: (...args: ConstructorParameters<typeof Loop>) => Loop;
  /** The lockout is forced to the disk. */
  readonly syncLockout: boolean;
  /** A sweep looks whether it has left anybody alive. */
  readonly provesDeath: boolean;
  /** The end of a main process counts as that of all only where the kernel's books say so. */
  readonly proofIsAsked: boolean;
  /** A new daemon looks for what the last one left alive. */
  readonly findsLeftovers: boolean;
}

export const asItIs: Variant = {
  makeLoop: (policy, deps: LoopDeps, before) => new Loop(policy, deps, before),
  syncLockout: true,
  provesDeath: true,
  proofIsAsked: true,
  findsLeftovers: true,
};
