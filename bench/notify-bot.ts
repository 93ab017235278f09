/** A bot that says 20 000 things at once on each SIGUSR2, as fast as its notify socket takes them, and `burst N` as the last. */
import { datagramSender } from "../src/bot/datagram.ts";
import { BURST } from "./notify.ts";

const sender = datagramSender(process.env["NOTIFY_SOCKET"] ?? "");
if (sender === undefined) throw new Error("cannot speak: NOTIFY_SOCKET names no socket");
let bursts = 0;

const say = async (text: string): Promise<void> => {
  const message = new TextEncoder().encode(text);
  // The kernel holds net.unix.max_dgram_qlen datagrams (10 by default): a full queue gives the turn to the reader.
  while (!sender.send(message)) await Bun.sleep(0);
};

process.on("SIGUSR2", () => void burst());

async function burst(): Promise<void> {
  bursts += 1;
  for (let i = 1; i < BURST; i += 1) await say(`WATCHDOG=1\nX_PROGRESS=${bursts}-${i}`);
  await say(`STATUS=burst ${bursts}`);
}

await say("READY=1");
setInterval(() => {}, 60_000);
