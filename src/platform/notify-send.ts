/** Tells systemd how we are: one datagram to the NOTIFY_SOCKET that it gave us (sd_notify(3)), never blocking. */
import { libc } from "./libc.ts";
import { ownPids } from "./subreaper.ts";
import { unixAddress } from "./unix-address.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/**
 * Sends `text` (lines `NAME=value`) and says whether the kernel took it; a full queue answers `false` at once.
 * Without FFI the tool systemd-notify sends it, which needs NotifyAccess=all in the unit; the answer then only says that it was started.
 */
export function sendNotify(socketPath: string, text: string): boolean {
  const address = unixAddress(socketPath);
  if (address === undefined || text === "") return false;
  const c = libc();
  if (c === undefined) return sendByTool(socketPath, text);
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bytes = Buffer.from(text);
  const sent = c.sendto(fd, bytes, MSG_DONTWAIT | MSG_NOSIGNAL, address);
  c.close(fd);
  return sent === bytes.length;
}

function sendByTool(socketPath: string, text: string): boolean {
  try {
    const tool = Bun.spawn({
      cmd: ["systemd-notify", ...text.split("\n").filter(Boolean)],
      env: { NOTIFY_SOCKET: socketPath, PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
      stdio: ["ignore", "ignore", "ignore"],
      onExit: (child) => void ownPids.delete(child.pid),
    });
    ownPids.add(tool.pid);
    return true;
  } catch {
    return false;
  }
}
