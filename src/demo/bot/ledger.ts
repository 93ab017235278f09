/** The sample bot's own books in SQLite: an intent before each order is sent, its outcome after, and every fill of the venue once. */

type OrderState = "intent" | "accepted" | "rejected" | "unknown";

export interface Intent {
  clientId: string;
  symbol: string;
  side: "buy" | "sell";
  type: "market" | "limit" | "stop";
  amount: number;
  price: number | null;
}

interface LedgerFill {
  tradeId: string;
  orderId: string;
  symbol: string;
  side: string;
  price: number;
  amount: number;
  fee: number;
  /** Venue's time, ms since 1970. */
  atMs: number;
}

export interface OpenIntent {
  clientId: string;
  symbol: string;
  type: Intent["type"];
  createdAtMs: number;
}

export interface Ledger {
  /** Writes down what is about to be sent; durable when it returns. */
  intend(intent: Intent, atMs: number): void;
  settle(clientId: string, state: OrderState, detail: { orderId?: string; error?: string }, atMs: number): void;
  /** Orders whose outcome is not known, oldest first, at most 50. */
  unsettled(): OpenIntent[];
  /** Writes a fill unless it is there already; returns whether it was new. */
  addFill(fill: LedgerFill): boolean;
  /** Venue's time of the newest fill of a symbol, ms; `undefined` when there is none. */
  lastFillAtMs(symbol: string): number | undefined;
  close(): void;
}

const BUSY_TIMEOUT_MS = 2_000;
const SYNCHRONOUS_FULL = 2;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS orders (
  client_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, side TEXT NOT NULL, type TEXT NOT NULL, amount REAL NOT NULL,
  price REAL, state TEXT NOT NULL CHECK (state IN ('intent', 'accepted', 'rejected', 'unknown')),
  order_id TEXT, error TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS orders_unsettled ON orders (created_at) WHERE state IN ('intent', 'unknown');
CREATE TABLE IF NOT EXISTS fills (
  trade_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, price REAL NOT NULL,
  amount REAL NOT NULL, fee REAL NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS fills_symbol ON fills (symbol, at);`;

/** Opens or makes the ledger at `path`; throws when it is no database or cannot be made durable. */
export async function openLedger(path: string): Promise<Ledger> {
  // The per-platform entries embed the addon; the package's main entry looks for it in node_modules.
  const { default: Database } =
    process.arch === "arm64" ? await import("better-sqlite3/linux-arm64") : await import("better-sqlite3/linux-x64");
  const database = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  makeDurable(database, path);
  database.exec(SCHEMA);
  return ledgerOn(database);
}

/** An existing WAL database opens with synchronous=NORMAL, so both are set and read back. */
function makeDurable(database: BetterSqlite3.Database, path: string): void {
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  const mode = database.pragma("journal_mode", { simple: true });
  const synchronous = database.pragma("synchronous", { simple: true });
  if (mode === "wal" && synchronous === SYNCHRONOUS_FULL) return;
  database.close();
  throw new Error(`cannot open ledger ${path}: journal_mode is ${String(mode)}, synchronous is ${String(synchronous)}`);
}

function ledgerOn(database: BetterSqlite3.Database): Ledger {
  const intend = database.prepare(
    `INSERT INTO orders (client_id, symbol, side, type, amount, price, state, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?)`,
  );
  const settle = database.prepare(
    "UPDATE orders SET state = ?, order_id = COALESCE(?, order_id), error = ?, updated_at = ? WHERE client_id = ?",
  );
  const unsettled = database.prepare(
    `SELECT client_id AS clientId, symbol, type, created_at AS createdAtMs FROM orders
     WHERE state IN ('intent', 'unknown') ORDER BY created_at LIMIT 50`,
  );
  const addFill = database.prepare("INSERT OR IGNORE INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const lastFill = database.prepare("SELECT max(at) AS at FROM fills WHERE symbol = ?");
  return {
    intend({ clientId, symbol, side, type, amount, price }, atMs) {
      intend.run(clientId, symbol, side, type, amount, price, atMs, atMs);
    },
    settle(clientId, state, { orderId, error }, atMs) {
      settle.run(state, orderId ?? null, error ?? null, atMs, clientId);
    },
    // Safe: the columns are selected under these names and the schema is STRICT.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    unsettled: () => unsettled.all() as OpenIntent[],
    addFill({ tradeId, orderId, symbol, side, price, amount, fee, atMs }) {
      return addFill.run(tradeId, orderId, symbol, side, price, amount, fee, atMs).changes === 1;
    },
    lastFillAtMs(symbol) {
      // Safe: an aggregate without GROUP BY gives exactly one row with this column.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const [row] = lastFill.all(symbol) as { at: number | null }[];
      return row?.at ?? undefined;
    },
    close: () => database.close(),
  };
}
