/**
 * The emergency file: whoever may write to the runtime folder can have every position closed by creating it.
 * Its owner and mode are checked, so that no other local user can; a refused file is said once and left in place.
 * And `BOT_EMERGENCY_SHUTDOWN`, which orders the same at the start.
 */
import { lstatSync, unlinkSync, type Stats } from "node:fs";
import { EXIT } from "../../core/exit-code.ts";
import { plainText } from "../../core/plain-text.ts";

/** A value of `BOT_EMERGENCY_SHUTDOWN` that is neither yes nor no; exit code 2. */
class SwitchError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "true, 1 or yes closes the positions of every bot; false, 0, no or nothing does not";
}

/** What `BOT_EMERGENCY_SHUTDOWN` says. Throws for a value that could be meant either way: guessing would start a bot. */
export function readEmergencySwitch(value: string | undefined): boolean {
  const text = (value ?? "").trim().toLowerCase();
  if (["true", "1", "yes"].includes(text)) return true;
  if (["", "false", "0", "no"].includes(text)) return false;
  throw new SwitchError(`cannot start: BOT_EMERGENCY_SHUTDOWN is "${plainText(text)}"`);
}

/** Mode bits that let others than the owner write. */
const FOREIGN_WRITE = 0o022;

export class EmergencyFile {
  readonly path: string;
  readonly #ownUid: number;
  #present = false;
  #refused: string | undefined;

  constructor(path: string, ownUid: number) {
    this.path = path;
    this.#ownUid = ownUid;
  }

  /** Looks at the file. `fired` once for each appearance: a file that cannot be removed does not fire each second. */
  look(): { fired: boolean; alert: string | undefined } {
    const found = lookAtEmergencyFile(this.path, this.#ownUid);
    const fired = found.kind === "present" && !this.#present;
    this.#present = found.kind === "present";
    const refused = found.kind === "refused" ? found.reason : undefined;
    const alert = refused === this.#refused ? undefined : refused;
    this.#refused = refused;
    return { fired, alert };
  }

  /** Takes the file away; `undefined` when that is done, else why it could not be. */
  consume(): string | undefined {
    const trouble = consumeEmergencyFile(this.path);
    if (trouble === undefined) this.#present = false;
    return trouble;
  }
}

type FileTrigger =
  | { readonly kind: "absent" }
  | { readonly kind: "present" }
  | { readonly kind: "refused"; readonly reason: string };

/** Looks at the emergency file; never throws. */
function lookAtEmergencyFile(path: string, ownUid: number): FileTrigger {
  let stat: Stats | undefined;
  try {
    stat = lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return {
      kind: "refused",
      reason: `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  if (stat === undefined) return { kind: "absent" };
  const refusal = refusalOf(stat, ownUid);
  return refusal === undefined ? { kind: "present" } : { kind: "refused", reason: `${path} is ignored: ${refusal}` };
}

function refusalOf(stat: Stats, ownUid: number): string | undefined {
  if (!stat.isFile()) return "it is not a regular file";
  if (stat.uid !== 0 && stat.uid !== ownUid) return `it belongs to uid ${stat.uid}`;
  if ((stat.mode & FOREIGN_WRITE) !== 0) return "its group or others may write to it";
  return undefined;
}

/** Takes the file away once its order is on disk; `undefined` when that is done, else why it could not be. */
function consumeEmergencyFile(path: string): string | undefined {
  try {
    unlinkSync(path);
    return undefined;
  } catch (error) {
    return `cannot remove ${path}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
