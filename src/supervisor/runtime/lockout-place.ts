/** Where the last word on a lockout is when the disk did not take it everywhere, and what that means to a person. */

/** Why which copy could not be written; `undefined`: it is there. */
export interface LockoutFailures {
  readonly slot: string | undefined;
  readonly file: string | undefined;
  /** Of the copy in the runtime folder, which is tried only where both others failed. */
  readonly spare?: string | undefined;
}

export interface LockoutPaths {
  readonly slot: string;
  readonly file: string;
  readonly spare: string;
}

/** `everywhere`: in slot and file. */
export type LockoutPlace = "everywhere" | "slot" | "file" | "spare" | "nowhere";

const AGAIN = "which is tried again every 5 s";

export function lockoutPlace({ slot, file, spare }: LockoutFailures): LockoutPlace {
  if (slot === undefined) return file === undefined ? "everywhere" : "slot";
  if (file === undefined) return "file";
  return spare === undefined ? "spare" : "nowhere";
}

/** What a person must know, before why; `undefined` where nothing is wrong. */
export function lockoutPlaceText(bot: string, paths: LockoutPaths, failures: LockoutFailures): string | undefined {
  const { slot = "", file = "", spare = "" } = failures;
  const place = lockoutPlace(failures);
  switch (place) {
    case "everywhere":
      return undefined;
    case "slot":
      return `the lockout of ${bot} is on the disk, in ${paths.slot}, and holds; its copy for people could not be written, ${AGAIN}: ${file}`;
    case "file":
      return `the lockout of ${bot} is on the disk, in ${paths.file}, and holds; its slot could not be written, ${AGAIN}: ${slot}`;
    case "spare":
      return `the lockout of ${bot} is in ${paths.spare} alone, which a reboot may empty; the state folder takes nothing, ${AGAIN}: ${slot}; ${file}`;
    case "nowhere":
      return `the lockout of ${bot} is on NO disk: it holds while this supervisor lives, and the next one would start the bot; ${AGAIN}; make room, or mend the disk: ${slot}; ${file}; ${spare}`;
  }
}
