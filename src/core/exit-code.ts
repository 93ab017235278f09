/** Exit codes of the commands, as the contract lists them; scripts rely on these numbers. */
export const EXIT = {
  done: 0,
  /** The command failed; for `status`: something is degraded. */
  failed: 1,
  /** Usage or config error. */
  usage: 2,
  /** The daemon is not running (LSB). */
  notRunning: 3,
  /** `status`: a bot is in emergency, locked out, stuck or halted. */
  emergency: 4,
} as const;
