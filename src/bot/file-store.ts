/** Breakers and retry budgets in one file of JSON lines, for bots that keep no other state. A kill loses nothing, a power cut the last moment. */
import { AppendFile } from "./append-file.ts";
import type { BreakerStore, BudgetStore, SavedBreaker, SavedBudget } from "./ports.ts";

export interface FileStore {
  readonly breakers: BreakerStore;
  readonly budgets: BudgetStore;
  close(): void;
}

export interface FileStoreOptions {
  /** Where errors of writing go: neither store throws. Default: a warning of the process. */
  readonly onError?: (error: unknown) => void;
}

type Line =
  | { readonly breaker: string; readonly saved: SavedBreaker }
  | { readonly budget: string; readonly saved: SavedBudget };

/** Opens the file, or makes it, with the folders above it. */
export function openFileStore(path: string, options: FileStoreOptions = {}): FileStore {
  const onError = options.onError ?? ((error) => process.emitWarning(error instanceof Error ? error : String(error)));
  const breakers = new Map<string, SavedBreaker>();
  const budgets = new Map<string, SavedBudget>();
  const take = (line: unknown): void => {
    if (!isLine(line)) return;
    if ("breaker" in line) breakers.set(line.breaker, line.saved);
    else budgets.set(line.budget, line.saved);
  };
  const lines = function* (): Generator<Line> {
    for (const [breaker, saved] of breakers) yield { breaker, saved };
    for (const [budget, saved] of budgets) yield { budget, saved };
  };
  const file = new AppendFile(path, take, lines);
  const write = (line: Line): void => {
    try {
      take(line);
      file.append(line);
    } catch (error) {
      onError(error);
      return;
    }
    file.sync().catch(onError);
  };
  return {
    breakers: { load: (name) => breakers.get(name), save: (breaker, saved) => write({ breaker, saved }) },
    budgets: { load: (name) => budgets.get(name), save: (budget, saved) => write({ budget, saved }) },
    close: () => file.close(),
  };
}

function isLine(line: unknown): line is Line {
  if (typeof line !== "object" || line === null || !("saved" in line)) return false;
  return typeof line.saved === "object" && line.saved !== null && ("breaker" in line || "budget" in line);
}
