/** The end of a test's journal: what is still under way for its bots writes nothing more, where it would make the folder anew. */
import type { Journal } from "../../src/supervisor/runtime/journal.ts";

export function endJournal(journal: Journal): void {
  journal.close();
  journal.write = () => {};
}
