/** Puts a state together again from what was found of it: per row the newest version, and the trades as one chain. */
import { CHAIN_START, keyOf, ORDER_KEEP_MS, TABLES, type Row, type TableName } from "./state-tables.ts";

/** Rows found in one place, for example in a damaged file; the rows are proven by their hashes already. */
export interface Found {
  readonly from: string;
  readonly rows: Iterable<Row>;
}

export interface Merged {
  readonly rows: readonly Row[];
  /** Per place, how many rows were taken from it. */
  readonly taken: Readonly<Record<string, number>>;
}

/**
 * Of copies of the same row the highest version wins, and among equals the first place that has it; within one place the later
 * copy, since a write that failed leaves a version behind that the next one uses again.
 */
export function mergeFound(places: readonly Found[]): Merged {
  const best = new Map<string, { readonly row: Row; readonly from: string }>();
  for (const { from, rows } of places)
    for (const row of rows) {
      const name = `${row.table} ${keyOf(row)}`;
      const known = best.get(name);
      const newer = known === undefined || known.row.version < row.version;
      if (newer || (known.from === from && known.row.version === row.version)) best.set(name, { row, from });
    }
  const taken: Record<string, number> = Object.fromEntries(places.map(({ from }) => [from, 0]));
  for (const { from } of best.values()) taken[from] = (taken[from] ?? 0) + 1;
  return { rows: [...best.values()].map(({ row }) => row), taken };
}

/** Places in a chain of trades (in order) at which the one before is missing or is not the one that was meant. */
export function chainGaps(rows: readonly { readonly row: Row; readonly hash: string }[]): number[] {
  const previous = columnOf("trades", "prev_hash");
  return rows.flatMap(({ row }, at) => {
    const expected = at === 0 ? CHAIN_START : rows[at - 1]?.hash;
    return row.cells[previous] === expected ? [] : [at];
  });
}

/** Whether an order that has ended is so old that it is forgotten. */
export function isForgotten(row: Row, now: number): boolean {
  if (row.table !== "orders") return false;
  const ended = !["intent", "sent", "unknown", "acked", "partial"].includes(
    String(row.cells[columnOf("orders", "status")]),
  );
  return ended && Number(row.cells[columnOf("orders", "updated_at")]) < now - ORDER_KEEP_MS;
}

export function columnOf(table: TableName, name: string): number {
  const columns: readonly string[] = TABLES[table].columns;
  return columns.indexOf(name);
}
