/**
 * Passwords for PostgreSQL's programs: a password file (libpq's PGPASSFILE) that is in no folder and on no disk, since what is in the
 * environment is in /proc/PID/environ for as long as the program runs.
 */
import { closeSync, fchmodSync, writeSync } from "node:fs";
import { libc } from "./libc.ts";

/** Files by password: a worker has one or two, which last as long as it. */
const files = new Map<string, number>();

/** Path of a file that children of this process read the password from, for any server; `undefined` where memory files are not to be had. */
export function passwordFile(password: string): string | undefined {
  const fd = files.get(password) ?? make(`*:*:*:*:${password.replaceAll(/[\\:]/g, String.raw`\$&`)}\n`);
  if (fd === undefined) return undefined;
  files.set(password, fd);
  return `/proc/${process.pid}/fd/${fd}`;
}

function make(text: string): number | undefined {
  const fd = libc()?.memfdCreate(Buffer.from("supervisor-pgpass\0")) ?? -1;
  if (fd < 0) return undefined;
  try {
    // libpq does not read a file that others may read.
    fchmodSync(fd, 0o600);
    writeSync(fd, text);
    return fd;
  } catch {
    closeSync(fd);
    return undefined;
  }
}
