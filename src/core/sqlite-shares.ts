/**
 * How the check of a SQLite database is shared by two processes (https://sqlite.org/pragma.html#pragma_integrity_check). What
 * `integrity_check` does beyond `quick_check` it does table by table: it looks up each row in each index. So one `quick_check`
 * of the whole file, free pages and counts of entries included, and one `integrity_check(TABLE)` of each table that has an index
 * prove together what one `integrity_check` does.
 */

export interface CheckedTable {
  readonly name: string;
  readonly rows: number;
  /** Of its indexes: is the first key a whole number, as an id is? */
  readonly indexes: readonly { readonly whole: boolean }[];
  readonly foreignKeys: number;
}

export interface CheckShare {
  /** `quick_check` of the whole file, and `foreign_key_check`. */
  readonly file: boolean;
  /** Tables of which each row is looked up in each index. */
  readonly tables: readonly string[];
}

/**
 * Costs of a row, in those of reading one. Ids grow as the rows do, so that each is found beside the one before; texts are
 * spread over the whole index. As measured with 2 and 5 million rows.
 */
const COST = { read: 1, foreignKey: 2, wholeKey: 2, otherKey: 10 };
/** A second process must save this share of the time, or it is not worth its start. */
const MIN_GAIN = 0.2;

/** The larger share first; `undefined` when one process does as well. */
export function shareCheck(tables: readonly CheckedTable[]): readonly [CheckShare, CheckShare] | undefined {
  const indexed = tables.filter(({ indexes }) => indexes.length > 0);
  const works = indexed.map((table) => ({ table: table.name, cost: costOf(table) }));
  const file = tables.reduce(
    (sum, { rows, foreignKeys }) => sum + rows * (COST.read + foreignKeys * COST.foreignKey),
    0,
  );
  const shares = [emptyShare(), emptyShare()] as const;
  const [one, other] = shares;
  for (const { table, cost } of [...works, { table: undefined, cost: file }].toSorted((a, b) => b.cost - a.cost)) {
    const share = one.cost <= other.cost ? one : other;
    share.cost += cost;
    if (table === undefined) share.file = true;
    else share.tables.push(table);
  }
  const [large, small] = one.cost >= other.cost ? [one, other] : [other, one];
  // One process alone reads no table twice.
  const alone = file + indexed.reduce((sum, table) => sum + costOf(table) - table.rows * COST.read, 0);
  return large.cost >= alone * (1 - MIN_GAIN) ? undefined : [asShare(large), asShare(small)];
}

function costOf({ rows, indexes }: CheckedTable): number {
  return indexes.reduce((sum, { whole }) => sum + rows * (whole ? COST.wholeKey : COST.otherKey), rows * COST.read);
}

function emptyShare(): { cost: number; file: boolean; tables: string[] } {
  return { cost: 0, file: false, tables: [] };
}

function asShare({ file, tables }: CheckShare): CheckShare {
  return { file, tables };
}
