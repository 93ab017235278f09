/** The invariants of ARCHITECTURE.md as far as the journal alone tells: nothing lost, nothing skipped, and nobody started under a lockout. */
import type { JournalEntry } from "../../src/core/journal-entry.ts";

interface BotMemory {
  /** Where the last decision of this daemon led; `undefined` before its first one. */
  state: string | undefined;
  generation: number;
  locked: boolean;
  adoptedLocked?: boolean;
}

/**
 * Throws `journal entry SEQ: …` for the first violation. `gaps`: lines may be lost, as by a full disk; `recounts`:
 * generations may begin anew, as when what counts them was spoiled.
 */
export function checkJournal(
  entries: readonly JournalEntry[],
  { gaps = false, recounts = false }: { gaps?: boolean; recounts?: boolean } = {},
): void {
  const bots = new Map<string, BotMemory>();
  let lastSeq = 0;
  for (const entry of entries) {
    const fresh = entry.seq === 1;
    if (!fresh && !gaps && entry.seq !== lastSeq + 1) fail(entry, `follows ${lastSeq}: lines are lost`);
    lastSeq = entry.seq;
    // A new daemon begins with what is on disk; generations and lockouts go on, states do not.
    if (fresh) for (const bot of bots.values()) bot.state = undefined;
    if (entry.kind !== "decision") continue;
    const bot = bots.get(entry.bot) ?? { state: undefined, generation: 0, locked: false };
    bots.set(entry.bot, bot);
    if (recounts) bot.generation = 0;
    checkDecision(entry, bot, gaps);
  }
}

function checkDecision(entry: Extract<JournalEntry, { kind: "decision" }>, bot: BotMemory, gaps: boolean): void {
  if (!gaps && bot.state !== undefined && bot.state !== entry.from)
    fail(entry, `goes from ${entry.from}, but ${entry.bot} was ${bot.state}`);
  // A daemon killed between the decision and the start counts on from the last start that there was.
  const least = bot.state === undefined ? bot.generation - 1 : bot.generation;
  if (entry.generation < least) fail(entry, `generation ${entry.generation} follows ${bot.generation}`);
  bot.state = entry.to;
  bot.generation = entry.generation;
  for (const { kind } of entry.effects) {
    if (kind === "openIncident") bot.locked = true;
    if (kind === "unlock") bot.locked = false;
    if (kind === "spawn" && bot.locked) fail(entry, `${entry.bot} is started under a lockout`);
  }
  // The operator's own command goes on with an order that a daemon had only written down: it takes the bot up to end it at once.
  if (bot.adoptedLocked === true && entry.event.kind !== "emergency")
    fail(entry, `${entry.bot} was adopted under a lockout, and not ended at once`);
  bot.adoptedLocked = entry.event.kind === "adopted" && bot.locked;
}

function fail({ seq, at, text }: JournalEntry, why: string): never {
  throw new Error(`journal entry ${seq} of ${at} (${text}): ${why}`);
}
