/**
 * A stream into systemd's journal whose other end a program gets as its output: one entry for each line it writes
 * (`man systemd-cat`; the header is that of systemd's own connect_logger_as, the same since version 31).
 */
import { libc, type Libc } from "./libc.ts";
import { unixAddress } from "./unix-address.ts";

/** Where journald listens for such streams. */
export const JOURNAL_SOCKET = "/run/systemd/journal/stdout";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SHUT_RD = 0;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0x800;
const MSG_NOSIGNAL = 0x4000;
/** As systemd's: what the bot may write while journald is slow before it waits; the kernel allows what net.core.wmem_max says. */
const SEND_BUFFER_BYTES = 8 * 1024 ** 2;
/** LOG_INFO of syslog(3), for lines that do not begin with a priority such as `<3>`. */
const PRIORITY = 6;

export type JournalStream = { readonly fd: number } | { readonly error: string };

/** Opens a stream under `identifier` (SYSLOG_IDENTIFIER). Never blocks and never throws; the caller closes the descriptor. */
export function openJournalStream(identifier: string, path = JOURNAL_SOCKET): JournalStream {
  const address = unixAddress(path);
  if (address === undefined) return failed(`${path} is no address of a socket`);
  const c = libc();
  if (c === undefined) return failed("this machine allows no FFI");
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failed(`socket failed with errno ${c.errno()}`);
  const problem = greet(c, fd, identifier, address);
  if (problem === undefined) return { fd };
  c.close(fd);
  return failed(`${path}: ${problem}`);
}

function failed(why: string): JournalStream {
  return { error: `cannot open a stream to systemd's journal: ${why}` };
}

/** Connects and sends the header; a journald that hangs has a full queue, and is refused instead of waited for. */
function greet(c: Libc, fd: number, identifier: string, address: Uint8Array): string | undefined {
  c.setIntOption(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES);
  if (c.connect(fd, address) !== 0) return CONNECT_ERRORS[c.errno()] ?? `connect failed with errno ${c.errno()}`;
  c.shutdown(fd, SHUT_RD);
  const header = Buffer.from(streamHeader(identifier));
  const sent = c.sendto(fd, header, MSG_NOSIGNAL, undefined);
  if (sent !== header.length) return `the header was not taken (errno ${c.errno()})`;
  // Programs do not expect EAGAIN from their output.
  const flags = c.fcntl(fd, F_GETFL, 0);
  if (flags < 0 || c.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) return `fcntl failed with errno ${c.errno()}`;
  return undefined;
}

/** Errno of connect(2), the same on x86-64 and arm64. */
const CONNECT_ERRORS: Readonly<Record<number, string>> = {
  2: "there is no such socket; journald does not run here",
  11: "journald does not take connections; it hangs",
  13: "permission denied",
  111: "nobody listens; journald does not run",
};

/** Identifier, unit (journald finds it by the cgroup), priority, 1: lines may begin with `<N>`, and three times 0: no further copies. */
function streamHeader(identifier: string): string {
  return [identifier, "", PRIORITY, 1, 0, 0, 0, ""].join("\n");
}
