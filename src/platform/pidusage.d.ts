/** Types for `pidusage` 4, which ships none; only what usage.ts needs. */
declare module "pidusage" {
  interface PidUsage {
    /** Resident set size, bytes. */
    memory: number;
    /** CPU time used since the process started, user and system, ms. */
    ctime: number;
    /** Time since the process started, ms, suspended time included. */
    elapsed: number;
  }
  interface PidUsageOptions {
    /** How long a pid's open /proc file is kept after its last use, ms. */
    maxage: number;
    usePs: boolean;
  }
  /** Several pids: a vanished one has no entry. One pid: a vanished one rejects with ENOENT or ESRCH. */
  function pidusage(pids: number[], options: PidUsageOptions): Promise<Record<string, PidUsage | null | undefined>>;
  export default pidusage;
}
