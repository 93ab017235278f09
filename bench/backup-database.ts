/**
 * The database of the backup benchmark: `make FILE MIB`, then `write FILE` commits 200 times a second as a bot does, answers
 * each line on stdin with its commits since the line before, and `grow FILE ORDERS` adds orders with two fills each.
 */
import { Database } from "bun:sqlite";

const BATCH = 50_000;
const COMMITS_PER_SECOND = 200;

const ORDER = `INSERT INTO orders (uid, symbol, side, price, quantity, state, note, created_at)
  SELECT lower(hex(randomblob(16))), CASE i % 3 WHEN 0 THEN 'BTC/USDT:USDT' WHEN 1 THEN 'ETH/USDT:USDT' ELSE 'SOL/USDT:USDT' END,
  CASE i % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 20000 + abs(random() % 1000000) / 100.0, abs(random() % 10000) / 1000.0,
  'filled', 'momentum, signal ' || i, datetime(1700000000 + i * 30, 'unixepoch') FROM numbers`;
const TRADE = `INSERT INTO trades (order_id, price, quantity, fee, created_at)
  SELECT (SELECT max(id) FROM orders) - i / 2, 20000 + abs(random() % 1000000) / 100.0, abs(random() % 10000) / 1000.0,
  0.1, datetime(1700000000 + i * 15, 'unixepoch') FROM numbers`;

function open(path: string): Database {
  const database = new Database(path);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 60000");
  return database;
}

const numbers = (upTo: number): string =>
  `WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ${upTo})`;

function add(database: Database, orders: number): void {
  database.exec(`BEGIN; ${numbers(orders)} ${ORDER}; ${numbers(orders * 2)} ${TRADE}; COMMIT`);
}

function make(path: string, mib: number): void {
  const database = open(path);
  database.exec("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000");
  database.exec(
    `CREATE TABLE orders (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, symbol TEXT, side TEXT, price REAL, quantity REAL, state TEXT, note TEXT, created_at TEXT);
     CREATE TABLE trades (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, price REAL, quantity REAL, fee REAL, created_at TEXT);
     CREATE INDEX trades_order ON trades (order_id)`,
  );
  const pages = database.query<{ bytes: number }, []>(
    "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
  );
  while ((pages.get()?.bytes ?? 0) < mib * 1_024 ** 2) add(database, BATCH);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

/** Each commit is durable, as that of an order must be. */
async function write(path: string): Promise<void> {
  const database = open(path);
  database.exec("PRAGMA synchronous = FULL");
  const insert = database.prepare(
    "INSERT INTO orders (uid, symbol, state, created_at) VALUES (lower(hex(randomblob(16))), 'BTC/USDT:USDT', 'new', datetime('now'))",
  );
  let tookMs: number[] = [];
  const commit = (): void => {
    const startMs = performance.now();
    insert.run();
    tookMs.push(performance.now() - startMs);
  };
  // Open loop: what a stall has put off is made up for.
  const startMs = performance.now();
  let made = 0;
  setInterval(() => {
    for (; made < ((performance.now() - startMs) / 1_000) * COMMITS_PER_SECOND; made += 1) commit();
  }, 1);
  for await (const _ of console) {
    const sorted = tookMs.toSorted((a, b) => a - b);
    const p99Ms = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
    console.log(JSON.stringify({ commits: sorted.length, worstMs: sorted.at(-1) ?? 0, p99Ms }));
    tookMs = [];
  }
}

const [verb, path = "", amount = "0"] = process.argv.slice(2);
if (verb === "make") make(path, Number(amount));
else if (verb === "write") await write(path);
else if (verb === "grow") add(open(path), Number(amount));
else throw new Error(`cannot do ${verb}: use make, write or grow`);
