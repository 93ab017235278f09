/** Types of the part of better-sqlite3 that is used here; the package ships none for its per-platform entries. */

declare namespace BetterSqlite3 {
  interface Statement {
    run(...values: (string | number | null)[]): { changes: number };
    all(...values: (string | number | null)[]): unknown[];
    /** The first row; `undefined` when there is none. */
    get(...values: (string | number | null)[]): unknown;
    raw(on: boolean): Statement;
    /** It answers with rows. */
    readonly reader: boolean;
    readonly readonly: boolean;
    iterate(...values: (string | number | null)[]): IterableIterator<unknown>;
  }
  interface BackupProgress {
    readonly totalPages: number;
    readonly remainingPages: number;
  }
  interface Database {
    readonly inTransaction: boolean;
    exec(sql: string): void;
    pragma(text: string, options?: { simple: boolean }): unknown;
    prepare(sql: string): Statement;
    /** `progress` returns the number of pages of the next step. */
    backup(path: string, options: { progress: (at: BackupProgress) => number }): Promise<BackupProgress>;
    close(): void;
  }
  type Constructor = new (
    path: string,
    options?: { timeout?: number; readonly?: boolean; fileMustExist?: boolean },
  ) => Database;
}

declare module "better-sqlite3/linux-x64" {
  const Database: BetterSqlite3.Constructor;
  export default Database;
}

declare module "better-sqlite3/linux-arm64" {
  const Database: BetterSqlite3.Constructor;
  export default Database;
}
