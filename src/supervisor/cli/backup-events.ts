/** What a person's own deed on backups leaves in the daemon's journal: by it the night's log tells who has made or proven what. */
import type { BackupLine } from "../../core/backup-job.ts";
import { counted } from "../../core/counted.ts";
import { MAX_NOTE_CHARS } from "../runtime/api.ts";
import { callDaemon } from "./client.ts";
import type { Place as Folders } from "./place.ts";

interface Event {
  readonly level: "info" | "alert";
  readonly text: string;
}

/** Events of one target in one store: a proof of many backups says no more than this. */
const MAX_EVENTS = 20;

interface Deed {
  readonly target: string;
  readonly store: string;
  readonly lines: readonly BackupLine[];
  /** `undefined`: it was done. */
  readonly failure: string | undefined;
}

export function eventsOf({ target, store, lines, failure }: Deed): readonly Event[] {
  const told = lines.flatMap((line): readonly Event[] => {
    switch (line.kind) {
      case "stored":
        return [{ level: "info", text: `backup ${line.id} is stored in ${store} and stands ${line.level}` }];
      case "verified":
        return line.ok
          ? [{ level: "info", text: `backup ${line.id} in ${store} stands ${line.level}` }]
          : [{ level: "alert", text: `backup ${line.id} in ${store} does not stand ${line.level}: ${line.detail}` }];
      case "copied":
        return [{ level: "info", text: `backup ${line.id} is copied to ${store}` }];
      case "pruned":
        return line.ids.length === 0
          ? []
          : [{ level: "info", text: `deleted ${counted(line.ids.length, "backup")} of ${target} in ${store}` }];
      case "alarm":
        return [{ level: "alert", text: `${target} in ${store}: ${line.text}` }];
      case "note":
      case "unchanged":
      case "verdict":
      case "progress":
      case "failed":
      case "step":
      case "restored":
      case "exported":
      case "found":
      case "fetched":
      case "settled":
      case "drilled":
      case "wal":
      case "walGap":
      case "walCopied":
        return [];
    }
  });
  const failed: readonly Event[] =
    failure === undefined ? [] : [{ level: "alert", text: `cannot finish ${target} in ${store}: ${failure}` }];
  return [...told.slice(0, MAX_EVENTS - failed.length), ...failed];
}

/** Where no daemon answers there is no journal that is anybody's to write. Never throws: the deed is done. */
export async function tellDaemon(folders: Folders, who: string, events: readonly Event[]): Promise<void> {
  for (const { level, text } of events) {
    const body = { level, text: `${who}: ${text}`.slice(0, MAX_NOTE_CHARS) };
    try {
      // Safe: in the order of the deed.
      // oxlint-disable-next-line no-await-in-loop
      await callDaemon(folders, "POST", "/v1/events", body);
    } catch {
      return;
    }
  }
}
