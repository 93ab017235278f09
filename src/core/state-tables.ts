/**
 * The tables of a bot's state and how a row is told from a damaged one. Amounts are decimal texts and times ms since 1970 UTC;
 * no row is ever removed while it may be asked for, and of two copies of a row the one with the higher version is the newer.
 */

/** "tbst": tells a state database from any other SQLite file (https://sqlite.org/pragma.html#pragma_application_id). */
export const APPLICATION_ID = 0x7462_7374;
export const PAGE_BYTES = 4_096;

export type Cell = string | number | null;

export interface Table {
  /** All but `version` and `hash`, in the order in which they are stored and hashed; the first is the key. */
  readonly columns: readonly string[];
  /** Rows are also written to the second copy: all but what a database says of itself. */
  readonly twice: boolean;
}

export const TABLES = {
  meta: { columns: ["key", "value"], twice: false },
  positions: {
    columns: [
      "position_id",
      "account",
      "symbol",
      "side",
      "quantity",
      "entry_price",
      "current_price",
      "stop_loss",
      "take_profit",
      "entry_time",
      "status",
      "source",
      "extra",
      "updated_at",
    ],
    twice: true,
  },
  orders: {
    columns: [
      "client_order_id",
      "exchange_order_id",
      "position_id",
      "name",
      "action",
      "symbol",
      "side",
      "type",
      "reduce_only",
      "quantity",
      "price",
      "filled",
      "avg_price",
      "status",
      "attempts",
      "error",
      "created_at",
      "updated_at",
    ],
    twice: true,
  },
  trades: {
    columns: [
      "trade_id",
      "client_order_id",
      "symbol",
      "side",
      "quantity",
      "price",
      "pnl",
      "commission",
      "at",
      "seq",
      "prev_hash",
    ],
    twice: true,
  },
  daily: { columns: ["day", "start_equity", "realized", "unrealized", "fees", "updated_at"], twice: true },
  kv: { columns: ["key", "value", "encrypted", "updated_at"], twice: true },
  breakers: { columns: ["name", "state", "saved", "updated_at"], twice: true },
  retry_budget: { columns: ["name", "saved", "updated_at"], twice: true },
  degradation: { columns: ["id", "level", "saved", "updated_at"], twice: true },
  migrations: { columns: ["id", "applied_at"], twice: false },
} as const satisfies Readonly<Record<string, Table>>;

export type TableName = keyof typeof TABLES;

// Safe: the names of an object literal are its keys.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
export const TABLE_NAMES = Object.keys(TABLES) as TableName[];

/** A row without its hash: the cells of the columns, then the version. */
export interface Row {
  readonly table: TableName;
  readonly cells: readonly Cell[];
  readonly version: number;
}

/** What the hash of a row is made of. The name of the table is part of it: a row that is found alone says where it belongs. */
export function rowText({ table, cells, version }: Row): string {
  return JSON.stringify([table, ...cells, version]);
}

/** Name of a row among those of its table. */
export function keyOf({ cells }: Pick<Row, "cells">): string {
  return String(cells[0]);
}

/** Orders that have ended are forgotten after this time, ms; long after any venue would take their ids again. */
export const ORDER_KEEP_MS = 90 * 86_400_000;

const STATUS = {
  position: "'open', 'closing', 'closed', 'orphan', 'mismatch'",
  order: "'intent', 'sent', 'acked', 'partial', 'filled', 'cancelled', 'rejected', 'absent', 'unknown'",
  unfinished: "'intent', 'sent', 'unknown'",
};

/** `acked` and `partial` say what the venue said last: such an order may still rest there, so it is looked at in a reconcile. */
export const UNFINISHED = STATUS.unfinished;
export const RESTING = "'acked', 'partial'";

const PROOF = "version INTEGER NOT NULL, hash TEXT NOT NULL";

/** Changes of the schema in their order. One that has shipped is never edited: the next one changes what it made. */
export const MIGRATIONS: readonly { readonly id: string; readonly sql: string }[] = [
  {
    id: "001-first",
    sql: `
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, ${PROOF}) STRICT;
CREATE TABLE positions (
  position_id TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL, symbol TEXT NOT NULL,
  side TEXT NOT NULL CHECK (side IN ('long', 'short')), quantity TEXT NOT NULL, entry_price TEXT, current_price TEXT,
  stop_loss TEXT, take_profit TEXT, entry_time INTEGER, status TEXT NOT NULL CHECK (status IN (${STATUS.position})),
  source TEXT NOT NULL, extra TEXT, updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE INDEX positions_live ON positions (symbol) WHERE status <> 'closed';
CREATE TABLE orders (
  client_order_id TEXT PRIMARY KEY NOT NULL, exchange_order_id TEXT, position_id TEXT, name TEXT NOT NULL, action TEXT NOT NULL,
  symbol TEXT NOT NULL, side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), type TEXT NOT NULL,
  reduce_only INTEGER NOT NULL CHECK (reduce_only IN (0, 1)), quantity TEXT NOT NULL, price TEXT, filled TEXT, avg_price TEXT,
  status TEXT NOT NULL CHECK (status IN (${STATUS.order})), attempts INTEGER NOT NULL, error TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE INDEX orders_unfinished ON orders (created_at) WHERE status IN (${STATUS.unfinished}, ${RESTING});
CREATE TABLE trades (
  trade_id TEXT PRIMARY KEY NOT NULL, client_order_id TEXT, symbol TEXT NOT NULL,
  side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), quantity TEXT NOT NULL, price TEXT NOT NULL, pnl TEXT, commission TEXT,
  at INTEGER NOT NULL, seq INTEGER NOT NULL, prev_hash TEXT NOT NULL, ${PROOF}) STRICT;
CREATE INDEX trades_at ON trades (at);
CREATE INDEX trades_seq ON trades (seq);
CREATE TRIGGER trades_no_update BEFORE UPDATE ON trades BEGIN SELECT RAISE(ABORT, 'trades are only appended'); END;
CREATE TRIGGER trades_no_delete BEFORE DELETE ON trades BEGIN SELECT RAISE(ABORT, 'trades are only appended'); END;
CREATE TABLE daily (
  day TEXT PRIMARY KEY NOT NULL, start_equity TEXT NOT NULL, realized TEXT NOT NULL, unrealized TEXT NOT NULL, fees TEXT NOT NULL,
  updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE TABLE kv (
  key TEXT PRIMARY KEY NOT NULL, value TEXT, encrypted INTEGER NOT NULL CHECK (encrypted IN (0, 1)), updated_at INTEGER NOT NULL,
  ${PROOF}) STRICT;
CREATE TABLE breakers (name TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, saved TEXT NOT NULL, updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE TABLE retry_budget (name TEXT PRIMARY KEY NOT NULL, saved TEXT NOT NULL, updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE TABLE degradation (
  id TEXT PRIMARY KEY NOT NULL CHECK (id = 'bot'), level TEXT NOT NULL, saved TEXT NOT NULL, updated_at INTEGER NOT NULL, ${PROOF}) STRICT;
CREATE TABLE migrations (id TEXT PRIMARY KEY NOT NULL, applied_at INTEGER NOT NULL, ${PROOF}) STRICT;`,
  },
];

/** Hash that the first trade of a chain refers to. */
export const CHAIN_START = "0".repeat(32);

/** File systems on which locks and flushes cannot be relied on, by the number of statfs(2). */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0x517b: "SMB",
  0xff53_4d42: "CIFS",
  0xfe53_4d42: "SMB2",
  0x0102_1997: "9P",
  0x5346_414f: "AFS",
  0x7375_7245: "Coda",
  0x00c3_6400: "Ceph",
  0x6573_5546: "FUSE",
  0x0bd0_0bd0: "Lustre",
  0x0116_1970: "GFS2",
  0x7461_636f: "OCFS2",
};

/** Name of the network file system; `undefined` for one that will do. */
export function networkFileSystem(type: number): string | undefined {
  // Some numbers do not fit 31 bits and come with a sign.
  return NETWORK_FILE_SYSTEMS[type >>> 0];
}
