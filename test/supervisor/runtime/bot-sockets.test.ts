/** A bot's sockets whose folder is moved away and put back, and a disk that takes nothing meanwhile. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BotSockets } from "../../../src/supervisor/runtime/bot-sockets.ts";

interface Disk {
  takesSigns: boolean;
  takesNotify: boolean;
}

/** Both sockets are servers here: what is asked is whether somebody listens at their paths. */
function rig() {
  const folder = mkdtempSync(join(tmpdir(), "sockets-"));
  const home = join(folder, "home");
  mkdirSync(home);
  const disk: Disk = { takesSigns: true, takesNotify: true };
  const said: string[] = [];
  const counts = { signs: 0, opened: 0 };
  const open = (path: string) => {
    counts.opened += 1;
    rmSync(path, { force: true });
    return Bun.serve({ unix: path, fetch: () => new Response() });
  };
  const paths = { notify: join(home, "notify"), server: join(home, "server") };
  const sockets = new BotSockets({
    paths,
    openNotify() {
      if (!disk.takesNotify) return { error: "no space for the notify socket" };
      const server = open(paths.notify);
      return { drain: () => 0, close: () => void server.stop(true) };
    },
    openServer: () => open(paths.server),
    renewSigns() {
      mkdirSync(home, { recursive: true });
      if (!disk.takesSigns) throw new Error("no space for the signs");
      counts.signs += 1;
    },
    say: (_level, text) => void said.push(text),
  });
  sockets.serve();
  return {
    disk,
    said,
    counts,
    sockets,
    paths,
    move: (from: string, to: string) => renameSync(join(folder, from), join(folder, to)),
    areHeard: async () => (await Promise.all([listens(paths.notify), listens(paths.server)])).every(Boolean),
    async [Symbol.asyncDispose]() {
      await sockets.close();
      rmSync(folder, { recursive: true });
    },
  };
}

async function listens(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  const answer = await promise;
  socket.destroy();
  return answer;
}

test("look() leaves sockets that are at their paths", async () => {
  await using made = rig();
  made.sockets.look();
  expect(made.counts).toEqual({ signs: 0, opened: 2 });
  expect(made.said).toEqual([]);
});

test("look() opens the sockets in a folder that is back, also where the disk takes no sign, and gives the signs later", async () => {
  await using made = rig();
  const { sockets, disk, move, said, counts } = made;
  move("home", "moved");
  sockets.look();
  expect(await made.areHeard()).toBe(true);
  move("home", "second");
  move("moved", "home");
  expect(await made.areHeard()).toBe(false);
  disk.takesSigns = false;
  sockets.look();
  expect(await made.areHeard()).toBe(true);
  sockets.look();
  expect(said.filter((text) => text.includes("no space for the signs"))).toHaveLength(1);
  disk.takesSigns = true;
  sockets.look();
  sockets.look();
  expect(counts).toEqual({ signs: 2, opened: 6 });
});

test("look() opens a notify socket that could not be opened as soon as it can, and says once that it could not", async () => {
  await using made = rig();
  const { sockets, disk, said, paths, counts } = made;
  rmSync(paths.notify);
  disk.takesNotify = false;
  for (let look = 0; look < 3; look += 1) sockets.look();
  expect(said.filter((text) => text.includes("no space for the notify socket"))).toHaveLength(1);
  expect(counts.signs).toBe(1);
  disk.takesNotify = true;
  sockets.look();
  expect(await made.areHeard()).toBe(true);
});

test("look() opens a server anew in whose place another file is", async () => {
  await using made = rig();
  rmSync(made.paths.server);
  writeFileSync(made.paths.server, "");
  made.sockets.look();
  expect(await made.areHeard()).toBe(true);
});
