import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { callDaemon, DaemonDownError, DaemonError, DaemonSilentError } from "../../../src/supervisor/cli/client.ts";
import type { Place } from "../../../src/supervisor/cli/place.ts";

/** A place, and a server on its control socket when `answer` is given. */
function place(answer?: (path: string) => Response | Promise<Response>): Place & AsyncDisposable {
  const dir = mkdtempSync(join(tmpdir(), "sv-"));
  const runtimeDir = join(dir, "run");
  mkdirSync(runtimeDir);
  const server =
    answer === undefined
      ? undefined
      : Bun.serve({
          unix: join(runtimeDir, "control.sock"),
          fetch: (request) => answer(new URL(request.url).pathname),
        });
  return {
    file: join(dir, "supervisor.yaml"),
    dirs: { stateDir: dir, runtimeDir, logDir: dir },
    async [Symbol.asyncDispose]() {
      await server?.stop(true);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

test("callDaemon() says that nobody answers, with exit code 3 and how to start it", async () => {
  await using here = place();
  const error = await callDaemon(here, "GET", "/v1/status").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DaemonDownError);
  expect(error).toMatchObject({ exitCode: 3, hint: "start it with: supervisor run" });
});

test("callDaemon() gives up after 5 s on a daemon that says nothing, with its pid and without asking anything", async () => {
  const asked: string[] = [];
  await using here = place((path) => {
    asked.push(path);
    return new Promise(() => {});
  });
  writeFileSync(join(here.dirs.stateDir, "supervisor.lock"), "4711\n");
  const error = await callDaemon(here, "POST", "/v1/bots/bot/stop").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DaemonSilentError);
  expect(error).toMatchObject({
    exitCode: 1,
    pid: 4711,
    message: `the supervisor (pid 4711, from ${join(here.dirs.stateDir, "supervisor.lock")}) does not answer; it may be stopped or overloaded`,
  });
  expect(asked).toEqual(["/v1/ping"]);
});

test("callDaemon() takes any answer to its ping as life, and blanks control characters in an error", async () => {
  const body = { error: { code: "x", message: "cannot: \u001B[2J\nno", hint: "do\r" } };
  await using here = place((path) =>
    path === "/v1/ping" ? new Response("", { status: 404 }) : Response.json(body, { status: 409 }),
  );
  const error = await callDaemon(here, "POST", "/v1/x").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DaemonError);
  expect(error).toMatchObject({ code: "x", exitCode: 1, message: "cannot:  [2J no", hint: "do " });
});

test("callDaemon() does not take an answer that is no JSON for a dead daemon", async () => {
  await using here = place(() => new Response("<html>"));
  await expect(callDaemon(here, "GET", "/v1/status")).rejects.toMatchObject({ code: "unknown", exitCode: 1 });
});
