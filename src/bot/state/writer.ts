/**
 * The one writer of a state: does what it is asked in groups, each of which is one transaction and one flush. A group is
 * answered only when both copies are durable, or not at all.
 */
import type { IntentOutcome, KnownIntent, OrderIntent } from "../../core/order-intent.ts";
import {
  CHAIN_START,
  RESTING,
  rowText,
  TABLES,
  UNFINISHED,
  type Cell,
  type TableName,
} from "../../core/state-tables.ts";
import { writeMeta, type Database } from "./database.ts";
import { intentCells, knownIntent, settledCells } from "./orders.ts";
import type { Ask, Envelope, Query, Reply } from "./protocol.ts";
import { columnsSql, hashOfText, proven, upsertSql, type StoredRow } from "./rows.ts";
import { decrypt, encrypt, isCurrent, type KeyRing, type Place } from "./secrets.ts";
import type { SecondCopy } from "./second-copy.ts";

/** Most rows that one question is answered with. */
const MAX_ROWS = 10_000;
/** Keys of values that are encrypted. */
const SECRET = "secret:";

const QUERIES: Readonly<Record<Query, { readonly table: TableName; readonly where: string }>> = {
  positions: { table: "positions", where: "status <> 'closed' ORDER BY position_id" },
  orders: { table: "orders", where: `status IN (${UNFINISHED}, ${RESTING}) ORDER BY created_at, client_order_id` },
  order: { table: "orders", where: "client_order_id = ?" },
  unfinished: { table: "orders", where: `status IN (${UNFINISHED}) ORDER BY created_at, client_order_id` },
  trades: { table: "trades", where: "at >= ? ORDER BY seq" },
  day: { table: "daily", where: "day = ?" },
  value: { table: "kv", where: "key = ?" },
  breakers: { table: "breakers", where: "1 ORDER BY name" },
  budgets: { table: "retry_budget", where: "1 ORDER BY name" },
  level: { table: "degradation", where: "id = 'bot'" },
};

/** Another process has opened the state since. */
export class FencedError extends Error {}

export interface WriterParts {
  readonly database: Database;
  readonly second: SecondCopy;
  readonly uuid: string;
  readonly epoch: number;
  readonly keys: KeyRing | undefined;
}

export class StateWriter {
  readonly #parts: WriterParts;
  readonly #statements = new Map<string, BetterSqlite3.Statement>();
  /** What each put of a table takes: its texts are not made anew for each. */
  readonly #puts = new Map<TableName, Readonly<Record<"version" | "upsert", BetterSqlite3.Statement>>>();
  /** Rows of the group under way that also go to the second copy. */
  #twice: StoredRow[] = [];
  #lastTrade: { seq: number; hash: string } | undefined;

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  /** Does a group. A request that fails alone is answered so; what fails the whole group is thrown, and then nothing of it holds. */
  apply(asks: readonly Envelope[]): Reply[] {
    const { database, second } = this.#parts;
    this.#twice = [];
    database.exec("BEGIN IMMEDIATE");
    try {
      this.#mustLead();
      const replies = asks.map((envelope) => this.#one(envelope));
      second.append(this.#twice);
      database.exec("COMMIT");
      return replies;
    } catch (error) {
      if (database.inTransaction) database.exec("ROLLBACK");
      this.#lastTrade = undefined;
      throw error;
    }
  }

  #mustLead(): void {
    const row = this.#prepared("SELECT value FROM meta WHERE key = 'writer_epoch'").get();
    const epoch = Array.isArray(row) ? String(row[0]) : undefined;
    if (epoch !== String(this.#parts.epoch))
      throw new FencedError("cannot write the state: another process has opened it since");
  }

  #one({ id, ask }: Envelope): Reply {
    const before = this.#twice.length;
    try {
      return { id, ok: true, value: this.#do(ask) };
    } catch (error) {
      // Each request writes only once it can fail no more, so a failed one has changed nothing.
      this.#twice.length = before;
      return { id, ok: false, error: error instanceof Error ? error.message : String(error) };
    }
  }

  #do(ask: Ask): unknown {
    switch (ask.kind) {
      case "put":
        return this.#put(ask.table, ask.table === "kv" ? this.#sealed(ask.cells) : ask.cells);
      case "trade":
        return this.#trade(ask.cells);
      case "begin":
        return this.#begin(ask.intent);
      case "settle":
        return this.#settle(ask.id, ask.outcome);
      case "rows":
        return this.#rows(ask.query, ask.args);
      case "reconciled":
        return writeMeta(this.#parts.database, "needs_reconcile", "");
      case "rekey":
        return this.#rekey();
      case "backup":
        throw new Error("internal error: a backup is not part of a group");
    }
  }

  #put(table: TableName, cells: readonly Cell[]): void {
    const key = cells[0] ?? null;
    const known = this.#putsTo(table).version.get(key);
    this.#write(table, cells, Array.isArray(known) ? Number(known[0]) + 1 : 1);
  }

  #write(table: TableName, cells: readonly Cell[], version: number): StoredRow {
    if (cells.length !== TABLES[table].columns.length)
      throw new Error(`cannot write to ${table}: ${cells.length} cells for ${TABLES[table].columns.length} columns`);
    const row = { table, cells, version };
    const text = rowText(row);
    const stored = { row, hash: hashOfText(text), text };
    this.#putsTo(table).upsert.run(...cells, version, stored.hash);
    if (TABLES[table].twice) this.#twice.push(stored);
    return stored;
  }

  /** False for a trade that is known already: venues report fills more than once. */
  #trade(cells: readonly Cell[]): boolean {
    const [id] = cells;
    if (this.#prepared("SELECT 1 FROM trades WHERE trade_id = ?").get(id ?? null) !== undefined) return false;
    this.#lastTrade ??= this.#readLastTrade();
    const { seq, hash } = this.#lastTrade;
    const stored = this.#write("trades", [...cells, seq + 1, hash], 1);
    this.#lastTrade = { seq: seq + 1, hash: stored.hash };
    return true;
  }

  #readLastTrade(): { seq: number; hash: string } {
    const row = this.#prepared("SELECT seq, hash FROM trades ORDER BY seq DESC LIMIT 1").get();
    return Array.isArray(row) ? { seq: Number(row[0]), hash: String(row[1]) } : { seq: 0, hash: CHAIN_START };
  }

  #begin(intent: OrderIntent): KnownIntent | undefined {
    const known = this.#order(intent.clientOrderId);
    if (known !== undefined) return knownIntent(known.row.cells);
    this.#write("orders", intentCells(intent), 1);
    return undefined;
  }

  #settle(id: string, outcome: IntentOutcome): void {
    const known = this.#order(id);
    if (known === undefined) throw new Error(`cannot settle order ${id}: there is no such intent`);
    this.#write("orders", settledCells(known.row.cells, outcome), known.row.version + 1);
  }

  #order(id: string): StoredRow | undefined {
    const values = this.#prepared(`SELECT ${columnsSql("orders")} FROM orders WHERE client_order_id = ?`).get(id);
    if (!Array.isArray(values)) return undefined;
    const row = proven("orders", values);
    if (row === undefined) throw this.#damaged(`cannot read order ${id}: its row is damaged`);
    return row;
  }

  #rows(query: Query, args: readonly Cell[]): readonly (readonly Cell[])[] {
    const { table, where } = QUERIES[query];
    const sql = `SELECT ${columnsSql(table)} FROM ${table} WHERE ${where} LIMIT ${MAX_ROWS}`;
    return this.#prepared(sql)
      .all(...args)
      .map((values) => {
        const row = Array.isArray(values) ? proven(table, values) : undefined;
        if (row === undefined) throw this.#damaged(`cannot read ${table}: a row is damaged`);
        return table === "kv" ? this.#opened(row.row.cells) : row.row.cells;
      });
  }

  /** Rows that no clean open looks at are looked at by the next one, which then recovers them. */
  #damaged(what: string): Error {
    writeMeta(this.#parts.database, "full_check_at", "0");
    return new Error(`${what}; the next start of the bot recovers what can be proven (supervisor state doctor)`);
  }

  #sealed(cells: readonly Cell[]): readonly Cell[] {
    const [key, value, , at] = cells;
    if (typeof key !== "string" || !key.startsWith(SECRET) || typeof value !== "string") return cells;
    return [key, encrypt(this.#keys(key), this.#place(key), value), 1, at ?? 0];
  }

  #opened(cells: readonly Cell[]): readonly Cell[] {
    const [key, value, encrypted, at] = cells;
    if (encrypted !== 1 || typeof value !== "string") return cells;
    return [key ?? null, decrypt(this.#keys(String(key)), this.#place(String(key)), value), 1, at ?? 0];
  }

  /** Encrypts with the current key what was encrypted with an older one; answers how many values that were. */
  #rekey(): number {
    const keys = this.#keys("secrets");
    const sql = `SELECT ${columnsSql("kv")} FROM kv WHERE encrypted = 1 AND value IS NOT NULL`;
    const renewed: { readonly cells: readonly Cell[]; readonly version: number }[] = [];
    // All are read before one is written: a key that is missing must leave everything as it is.
    for (const values of this.#prepared(sql).all()) {
      const row = Array.isArray(values) ? proven("kv", values) : undefined;
      if (row === undefined) throw this.#damaged("cannot encrypt anew: a row is damaged");
      const [key, value, , at] = row.row.cells;
      if (isCurrent(keys, String(value))) continue;
      const plain = decrypt(keys, this.#place(String(key)), String(value));
      const sealed = encrypt(keys, this.#place(String(key)), plain);
      renewed.push({ cells: [key ?? null, sealed, 1, at ?? 0], version: row.row.version + 1 });
    }
    for (const { cells, version } of renewed) this.#write("kv", cells, version);
    return renewed.length;
  }

  #keys(what: string): KeyRing {
    if (this.#parts.keys !== undefined) return this.#parts.keys;
    throw new Error(`cannot read or write ${what}: no key is given (docs/state.md)`);
  }

  #place(key: string): Place {
    return { uuid: this.#parts.uuid, table: "kv", column: "value", key };
  }

  #putsTo(table: TableName): Readonly<Record<"version" | "upsert", BetterSqlite3.Statement>> {
    let puts = this.#puts.get(table);
    if (puts === undefined) {
      const version = this.#prepared(`SELECT version FROM ${table} WHERE ${TABLES[table].columns[0]} = ?`);
      puts = { version, upsert: this.#prepared(upsertSql(table)) };
      this.#puts.set(table, puts);
    }
    return puts;
  }

  #prepared(sql: string): BetterSqlite3.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#parts.database.prepare(sql);
      if (statement.reader) statement.raw(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
