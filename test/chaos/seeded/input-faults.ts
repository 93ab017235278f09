/** Trouble that comes in by sockets: floods, garbage, probes that hang, people who type at the same time. */
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { sendNotify } from "../../../src/platform/notify-send.ts";
import { program } from "../fixture.ts";
import { until } from "../harness.ts";
import { oneOf, type Fault } from "./fault.ts";
import type { Mood } from "./moody-server.ts";
import { chanceOf } from "./sequence.ts";
import type { World } from "./world.ts";

const FLOOD_DATAGRAMS = 20_000;
const GARBAGE_DATAGRAMS = 300;
const MAX_GARBAGE_BYTES = 6_000;
/** Three failures of a probe in a row, and one more, ms. */
const MOOD_MS = 2_500;
const HALF_OPEN_CONNECTIONS = 60;
const HALF_OPEN_MS = 1_000;
const HOUR_MS = 3_600_000;

/** Text without sense, some of it the protocol's. */
function garbage(roll: number): string[] {
  const chance = chanceOf(Math.floor(roll * 2 ** 32));
  const words = [
    "READY=1",
    "STOPPING=1",
    "MAINPID=1",
    "WATCHDOG=trigger",
    "\0",
    "=\n=",
    "X_EXPOSURE=-1e999",
    "ERRNO=x",
  ];
  return Array.from({ length: GARBAGE_DATAGRAMS }, () => {
    const text = String.fromCharCode(...Array.from({ length: 20 }, () => Math.floor(chance() * 256)));
    return `${oneOf(words, chance())}${text.repeat(Math.floor((chance() * MAX_GARBAGE_BYTES) / 40))}`;
  });
}

export const inputFaults: readonly Fault[] = [
  {
    name: "notify flood of a stranger",
    async strike({ rig }) {
      const socket = rig.state("run/bots/beater.notify");
      const flood = Bun.spawn(program("notify-burst.ts", socket, String(FLOOD_DATAGRAMS)), { cwd: "/", env: {} });
      await flood.exited;
    },
  },
  {
    name: "notify garbage",
    async strike({ rig }, [roll]) {
      for (const text of garbage(roll ?? 0)) sendNotify(rig.state("run/bots/beater.notify"), text);
      // A turn of the loop before the next fault: nobody answers garbage.
      await Bun.sleep(0);
    },
  },
  ...(["slow", "half-open", "closing"] as const).map((mood: Mood): Fault => ({
    name: `http probe: the server is ${mood}`,
    async strike({ server }) {
      server.mood = mood;
      await Bun.sleep(MOOD_MS);
      server.mood = "well";
    },
  })),
  {
    name: "half-open connections to the control socket",
    async strike({ rig }) {
      const path = rig.state("run/control.sock");
      const sockets: Socket[] = [];
      for (let n = 0; n < HALF_OPEN_CONNECTIONS; n += 1) {
        const socket = connect(path).on("error", () => {});
        socket.write("POST /v1/bots/trader/stop HTTP/1.1\r\ncontent-length: 99\r\n\r\n");
        sockets.push(socket);
      }
      await Bun.sleep(HALF_OPEN_MS);
      await rig.status();
      for (const socket of sockets) socket.destroy();
    },
  },
  {
    name: "two people restart a bot at once",
    async strike(world, [roll]) {
      const name = world.pick(roll ?? 0);
      await Promise.all([world.rig.cli("restart", name), world.rig.cli("restart", name), world.rig.cli("status")]);
    },
  },
  {
    name: "one stops a bot while another one starts it",
    async strike(world, [roll]) {
      const name = world.pick(roll ?? 0);
      const both = [world.rig.cli("stop", name), world.rig.cli("start", name), world.rig.cli("restart", name)];
      await Promise.all(both);
      const { code, err } = await world.rig.cli("start", name);
      if (code !== 0) throw new Error(`cannot start ${name} afterwards: ${err}`);
    },
  },
  {
    name: "a second daemon on the same folder",
    async strike({ rig }) {
      const { code, err } = await rig.cli("run");
      if (code !== 2 || !err.includes(String(rig.daemon.pid))) throw new Error(`it was not refused: ${code} ${err}`);
    },
  },
  {
    name: "clock step of the living daemon by an hour, forth and back",
    missing: () => (clockFaker() === undefined ? "libfaketime is not installed" : undefined),
    async strike(world, [roll]) {
      const env = {
        LD_PRELOAD: clockFaker() ?? "",
        FAKETIME_TIMESTAMP_FILE: world.rig.write("clock", "+0h"),
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      };
      await world.replaceDaemon(undefined, env);
      await world.untilQuiet();
      for (const hours of (roll ?? 0) < 0.5 ? [1, 0] : [-1, 0]) {
        await setClock(world, hours);
        await world.untilQuiet();
      }
      await world.replaceDaemon();
    },
  },
];

/** Steps the wall clock of a daemon that reads it from a file, and waits until it is seen in the journal. */
async function setClock({ rig }: World, hours: number): Promise<void> {
  rig.write("clock", `${hours < 0 ? "" : "+"}${hours}h`);
  const text = `the clock is ${hours} h off`;
  const body = JSON.stringify({ level: "info", text });
  await until("the daemon reads the new time", async () => {
    await rig.request("/v1/events", { method: "POST", body, headers: { "content-type": "application/json" } });
    const at = Date.parse(rig.journal.findLast((entry) => entry.text === text)?.at ?? "");
    return Math.abs(at - Date.now() - hours * HOUR_MS) < HOUR_MS / 4;
  });
}

/** The library where Debian has it. */
function clockFaker(): string | undefined {
  return ["x86_64", "aarch64"]
    .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
    .find((path) => existsSync(path));
}
