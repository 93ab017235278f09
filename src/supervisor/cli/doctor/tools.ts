/** Programs that a supervised installation uses, and what is missing without each. */
import { ok, warning, type Finding } from "./finding.ts";

interface Tool {
  readonly name: string;
  readonly use: string;
  /** Debian's name for what has it. */
  readonly from: string;
  /** The supervisor itself calls it. */
  readonly called?: true;
}

const TOOLS: readonly Tool[] = [
  { name: "setpriv", use: "runs a bot as another user, and sets its limits", from: "util-linux", called: true },
  { name: "zstd", use: "reads rotated output by hand; supervisor logs does it by itself", from: "zstd" },
  { name: "gzip", use: "reads output that is rotated with compress: gzip", from: "gzip" },
  { name: "tar", use: "unpacks archives", from: "tar" },
  { name: "sqlite3", use: "looks into a bot's SQLite database", from: "sqlite3" },
  { name: "pg_dump", use: "dumps PostgreSQL databases for backups of kind postgres", from: "postgresql-client" },
  { name: "redis-cli", use: "dumps a bot's Redis database", from: "redis-tools" },
  { name: "openssl", use: "makes passwords and certificates", from: "openssl" },
  { name: "age", use: "encrypts files that leave the machine", from: "age" },
  { name: "logrotate", use: "rotates logFile with config/logrotate/tradingbot", from: "logrotate" },
];

/** Where programs of the system are that ordinary users do not have in their PATH. */
const MORE_FOLDERS = "/usr/sbin:/sbin";

/** One line for each tool; only what the supervisor itself calls can be missed. */
export function toolFindings(path: string | undefined): readonly Finding[] {
  return TOOLS.map(({ name, use, from, called }) => {
    const found = Bun.which(name, { PATH: `${path ?? "/usr/bin:/bin"}:${MORE_FOLDERS}` });
    if (found !== null) return ok(name, `${found}: ${use}`);
    if (called === true) return warning(name, `not found; it ${use}`, `apt install ${from}`);
    return ok(name, `not installed, and not needed by the supervisor; it ${use} (package ${from})`);
  });
}
