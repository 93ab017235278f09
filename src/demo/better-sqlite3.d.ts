/** Types of the part of better-sqlite3 that the sample bot uses; the package ships none for its per-platform entries. */

declare namespace BetterSqlite3 {
  interface Statement {
    run(...values: (string | number | null)[]): { changes: number };
    all(...values: (string | number | null)[]): unknown[];
  }
  interface Database {
    exec(sql: string): void;
    pragma(text: string, options?: { simple: boolean }): unknown;
    prepare(sql: string): Statement;
    close(): void;
  }
  type Constructor = new (path: string, options?: { timeout?: number }) => Database;
}

declare module "better-sqlite3/linux-x64" {
  const Database: BetterSqlite3.Constructor;
  export default Database;
}

declare module "better-sqlite3/linux-arm64" {
  const Database: BetterSqlite3.Constructor;
  export default Database;
}
