/** One kind of trouble: what it does to the world, and where it cannot be made. */
import type { World } from "./world.ts";

export interface Fault {
  readonly name: string;
  /** Why this machine cannot have it; `undefined` where it can. */
  readonly missing?: (world: World) => string | undefined;
  /** Makes the trouble and ends it; what comes of it is judged by the world. */
  readonly strike: (world: World, rolls: readonly number[]) => Promise<void>;
}

/** One of several, by chance. */
export function oneOf<T>(choices: readonly T[], roll = 0): T {
  const chosen = choices[Math.floor(roll * choices.length)];
  if (chosen === undefined) throw new Error("nothing to choose from");
  return chosen;
}
