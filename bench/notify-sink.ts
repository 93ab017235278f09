/** Baseline of the burst: a program that only reads its notify socket, argv[2], and prints each STATUS. */
import { systemClock } from "../src/platform/clock.ts";
import { openNotifySocket } from "../src/platform/notify-socket.ts";

const socket = openNotifySocket({
  path: process.argv[2] ?? "",
  mode: 0o600,
  clock: systemClock,
  onDatagram: ({ text }) => {
    if (text.startsWith("STATUS=")) process.stdout.write(`${text}\n`);
  },
});
if ("error" in socket) throw new Error(socket.error);
process.stdout.write("listening\n");
setInterval(() => {}, 60_000);
