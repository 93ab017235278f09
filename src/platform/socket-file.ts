/** Which file a unix socket has: one that was bound at its path before it was moved away, or removed, is heard by nobody there. */
import { statSync } from "node:fs";

/** Tells the socket file at the path from every other one that is there now; `undefined`: there is none. Throws where that cannot be looked at. */
export function socketFile(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isSocket() === true ? `${stat.dev}:${stat.ino}` : undefined;
}
