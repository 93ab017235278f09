/** Writing to a terminal in whose foreground another process is. */
import { constants } from "node:os";
import { libc } from "./libc.ts";

/** sizeof(struct sigaction) of glibc and musl on 64 bits; it begins with the handler. */
const SIGACTION_BYTES = 152;
const SIG_IGN = 1n;

/**
 * Under `stty tostop` a terminal stops whoever writes to it from the background, unless SIGTTOU is ignored: then the text goes through
 * (termios(3), TOSTOP). A handler would not do: the write would be tried again for ever. Without libc the signal stays as it is.
 */
export function writeFromBackground(): void {
  const action = Buffer.alloc(SIGACTION_BYTES);
  action.writeBigUInt64LE(SIG_IGN, 0);
  libc()?.sigaction(constants.signals.SIGTTOU, action, undefined);
}
