/** What a restore asks of the daemon, which may be between two versions of itself at any of the questions. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startBots } from "../../../src/actions/backup/restore-bots.ts";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";

/** A state folder that names `pid` as its holder, and what listens on its socket from the first pause of whoever asks on. */
function stage(pid: number) {
  const stateDir = mkdtempSync(join(tmpdir(), "sv-"));
  const socket = join(stateDir, "control.sock");
  const asked: string[] = [];
  const serve = () =>
    Bun.serve({
      unix: socket,
      fetch: ({ url }) => {
        asked.push(new URL(url).pathname);
        return Response.json({});
      },
    });
  let server: ReturnType<typeof serve> | undefined;
  const clock: Clock = {
    ...systemClock,
    after: (_, callback) => {
      server ??= serve();
      return systemClock.after(0, callback);
    },
  };
  writeFileSync(join(stateDir, "supervisor.lock"), `${pid}\n`);
  return {
    daemon: { socket, stateDir, clock },
    asked,
    async [Symbol.asyncDispose]() {
      await server?.stop(true);
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

test("startBots() asks again while the daemon lives and nobody listens, as during its upgrade", async () => {
  await using rig = stage(process.pid);
  expect(await startBots(rig.daemon, ["bot"], "state")).toEqual([]);
  expect(rig.asked).toEqual(["/v1/bots/bot/start"]);
});

test("startBots() says at once what it could not start where no daemon lives", async () => {
  const ended = Bun.spawn(["true"]);
  await ended.exited;
  await using rig = stage(ended.pid);
  expect(await startBots(rig.daemon, ["bot"], "state")).toEqual([
    "cannot start bot: the supervisor does not answer any more; supervisor status shows whether it lives",
  ]);
  expect(rig.asked).toEqual([]);
});
