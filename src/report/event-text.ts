/** One line of text per journal entry, for `supervisor events` and the daemon's own output. */
import type { JournalEntry } from "../core/journal-entry.ts";
import { plainText } from "../core/plain-text.ts";

const MARK = { debug: " ", info: " ", warn: "!", alert: "‼" } as const;

/**
 * For example `12:00:01.250 ! momentum  running → stopping: killed by SIGKILL`; the time is UTC, with `dated` the whole of it,
 * for what is kept. With `today`, as 2026-01-31, the date of any other day stands before the time. Always one line.
 */
export function eventLine(
  entry: JournalEntry,
  { dated = false, today }: { readonly dated?: boolean; readonly today?: string } = {},
): string {
  const day = today === undefined || entry.at.startsWith(today) ? "" : `${entry.at.slice(0, 10)} `;
  const time = dated ? entry.at : `${day}${entry.at.slice(11, 23)}`;
  const who = entry.bot ?? "supervisor";
  return plainText(`${time} ${MARK[entry.level]} ${who}  ${entry.text}`);
}
