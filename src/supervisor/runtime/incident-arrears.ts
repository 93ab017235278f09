/**
 * What the disk has not taken of the closes of one bot: lines of their journals and reports, which the worker of each hands over
 * as it ends. They are kept in memory, and in the runtime folder where that can be written, until the state folder takes them.
 */
import { closeSync, fdatasyncSync } from "node:fs";
import { join } from "node:path";
import { addArrears, readSpare, removeDamaged, writeSpare, type Arrears } from "../../actions/incident-spare.ts";
import type { CloseReport, Unwritten } from "../../core/close-job.ts";
import { counted } from "../../core/counted.ts";
import { removeIfThere, writeFileAtomic } from "../../platform/files.ts";
import { openForLines, writeLines } from "../../platform/line-append.ts";
import { moveAway } from "./quarantine.ts";

/** Looks, of one a second, between two tries. */
const RETRY_LOOKS = 5;

export interface IncidentArrearsDeps {
  /** Folder of the bot's incidents. */
  readonly folder: string;
  /** File of the copy in the runtime folder. */
  readonly spare: string;
  /** As in `BotDeps`: what is in the folder is not ours now. */
  readonly foreign?: (() => boolean) | undefined;
  readonly fact: (level: "info" | "alert", text: string) => void;
  /** A report that an earlier supervisor could not write: it has told nobody else of it either. */
  readonly found: (report: CloseReport) => void;
}

export class IncidentArrears {
  readonly #deps: IncidentArrearsDeps;
  readonly #incidents = new Map<string, Arrears>();
  #looks = 0;
  /** Why the last try failed; `undefined`: all is written. */
  #why: string | undefined;
  /** That has been said. */
  #said = false;
  /** Lines that were too many to be kept. */
  #lost = 0;
  #begun = false;
  /** The copy in the runtime folder holds all that is kept. */
  #spared = false;

  constructor(deps: IncidentArrearsDeps) {
    this.#deps = deps;
  }

  /** What is not on the disk yet, and why; `undefined`: everything is. */
  get owed(): string | undefined {
    if (this.#incidents.size === 0) return undefined;
    const what = [...this.#incidents].map(([incident, arrears]) => `${namesOf(arrears)} of incident ${incident}`);
    const where = this.#spared ? `in ${this.#deps.spare}, which a reboot may empty` : "in memory alone";
    return `the disk has not taken ${what.join(", ")} yet, kept ${where}: ${this.#why ?? "not tried yet"}`;
  }

  /** What a run left as it ended; tried at once. A report that is on the disk takes the place of those of earlier runs. */
  take(report: CloseReport, { lines, report: unreported }: Unwritten): void {
    // A worker of an earlier supervisor may have come to its end only now.
    this.#readOthers(report.incident, lines);
    const { incident } = report;
    if (!this.#incidents.has(incident) && lines.length === 0 && !unreported) return;
    const lost = addArrears(this.#incidents, incident, { lines, report: unreported ? report : undefined });
    this.#lost += lost.length;
    this.#spared = false;
    this.#write();
  }

  /** Each second, while no worker of the bot writes. */
  settle(): void {
    // Not before the first look, as no start needs it.
    if (!this.#begun) this.#readOthers();
    if (this.#incidents.size === 0) return;
    this.#looks += 1;
    if (this.#looks % RETRY_LOOKS === 0) this.#write();
  }

  /** Before a worker starts: what is written later comes after its lines, as if it had been later. */
  flush(): void {
    if (!this.#begun) this.#readOthers();
    if (this.#incidents.size > 0) this.#write();
  }

  /** The supervisor ends: a last try, and what is lost is said. Where a worker writes, the next supervisor does that, unless it would be lost. */
  end(working = false): void {
    if (this.#incidents.size === 0) return;
    if (working) this.#keepSpare();
    if (!working || !this.#spared) this.#write();
    if (this.owed !== undefined && !this.#spared)
      this.#deps.fact("alert", `${this.owed}; the supervisor lets go of the bot, and it is lost`);
  }

  /** What others have left in the runtime folder: an earlier supervisor, and workers. One hands over `coming` of `ended`, which is told. */
  #readOthers(ended?: string, coming: readonly string[] = []): void {
    const isFirst = !this.#begun;
    this.#begun = true;
    const { folder, spare, fact } = this.#deps;
    const found = readSpare(spare, folder);
    if (found === undefined) {
      removeDamaged(spare);
      fact("alert", moveAway(spare, "what it has of closes could not be read"));
    }
    const handedOver = new Set(coming);
    for (const [incident, { lines, report }] of found ?? []) {
      const own = this.#incidents.get(incident);
      const lost = addArrears(this.#incidents, incident, { lines, report: own?.report ?? report });
      this.#lost += lost.filter((line) => incident !== ended || !handedOver.has(line)).length;
      this.#spared = true;
      this.#why ??= "it could not be written before";
      if (isFirst && report !== undefined && incident !== ended) this.#deps.found(report);
    }
  }

  /** Writes what the disk takes. Never throws; what is wrong is said once. */
  #write(): void {
    const { foreign, fact } = this.#deps;
    if (foreign?.() === true) return this.#keepSpare();
    const before = this.#why;
    try {
      for (const [incident, arrears] of this.#incidents) {
        this.#writeOne(incident, arrears);
        this.#incidents.delete(incident);
        // It holds too much by now.
        this.#spared = false;
      }
      this.#why = undefined;
      this.#said = false;
      removeQuietly(this.#deps.spare);
      if (before !== undefined) fact("info", this.#doneText());
      this.#lost = 0;
    } catch (error) {
      this.#why = messageOf(error);
      this.#keepSpare();
      const until = this.#spared ? "" : ", and lost if the supervisor ends before";
      if (!this.#said) fact("alert", `${this.owed}; it is tried again every 5 s${until}: make room, or mend the disk`);
      this.#said = true;
    }
    return undefined;
  }

  #writeOne(incident: string, { lines, report }: Arrears): void {
    const { folder } = this.#deps;
    if (lines.length > 0) {
      const fd = openForLines(join(folder, `${incident}.ndjson`));
      try {
        writeLines(fd, lines);
        fdatasyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }
    if (report !== undefined)
      writeFileAtomic(join(folder, `${incident}.json`), `${JSON.stringify(report, undefined, 2)}\n`);
  }

  #keepSpare(): void {
    if (this.#spared) return;
    try {
      writeSpare(this.#deps.spare, this.#incidents);
      this.#spared = true;
    } catch {
      // On the same full disk, mostly; that all of it is in memory alone is said.
    }
  }

  #doneText(): string {
    const missing = this.#lost === 0 ? "" : `, but for ${counted(this.#lost, "line")} that were too many to be kept`;
    return `what the disk did not take of journals and reports of closes is on it now${missing}`;
  }
}

function namesOf({ lines, report }: Arrears): string {
  const names = [
    ...(lines.length === 0 ? [] : [`${counted(lines.length, "line")} of the journal`]),
    ...(report === undefined ? [] : ["the report"]),
  ];
  return names.join(" and ");
}

/** What is in it is on the disk, which is looked at when it is read. */
function removeQuietly(path: string): void {
  try {
    removeIfThere(path);
  } catch {
    // Nothing is written twice for it.
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
