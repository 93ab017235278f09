import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import type { ProbeResult } from "../../src/core/verdict.ts";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";

function ask(port: number, fields: object = {}, signal = noAbort()): Promise<ProbeResult> {
  return createProbe(probeSchema.parse({ kind: "tcp", port, ...fields }), probeContext()).run(signal);
}

async function listen(): Promise<{ port: number; closed: Promise<void>; close: () => Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const closed = new Promise<void>((resolve) =>
    server.once("connection", (socket) => socket.resume().on("close", () => resolve())),
  );
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  return { port: address.port, closed, close };
}

describe("tcp", () => {
  test("succeeds when the port accepts, and closes the connection", async () => {
    const { port, closed, close } = await listen();
    expect(await ask(port)).toEqual({ kind: "success" });
    await closed;
    await close();
  });

  test("fails when the port refuses", async () => {
    const { port, close } = await listen();
    await close();
    expect(await ask(port)).toEqual({
      kind: "failure",
      reason: `cannot reach 127.0.0.1:${port}: connection refused`,
    });
  });

  test("is unknown when the host does not resolve, or the failure of an upstream", async () => {
    expect(await ask(80, { host: "bot.invalid", upstream: false })).toMatchObject({ kind: "unknown" });
    expect(await ask(80, { host: "venue.invalid" })).toMatchObject({ kind: "failure" });
  });

  test("is unknown when it is given up before it started", async () => {
    expect(await ask(80, {}, AbortSignal.abort())).toMatchObject({ kind: "unknown" });
  });
});
