import { expect, onTestFinished, test, vi } from "vitest";
import { command } from "../../../src/supervisor/cli/events.ts";
import { VerbRig } from "./verb-rig.ts";

const entry = (bot: string, at: string) =>
  JSON.stringify({ v: 1, seq: 1, at, kind: "fact", bot, level: "info", text: `${bot} at ${at}` });

test.each([
  "5",
  "2026",
  "2026-01-01",
  "2026-01-01 12:00",
  "Jan 1 2026",
  "2026-13-01T00:00:00Z",
  "2026-02-30T00:00:00Z",
  "2026-01-01T24:00:00Z",
  "15",
])("events --since %s is refused", async (since) => {
  await using rig = new VerbRig();
  await expect(rig.run(command, "--since", since)).rejects.toThrow(
    `"${since}" is neither a time such as 2026-01-31T12:00:00Z nor an age such as 15m, 2h or 1d`,
  );
});

test.each([
  ["2026-01-01T12:00:00Z", 1],
  ["2026-01-01T13:00:00.5+01:00", 1],
  ["2026-01-01T11:00:00Z", 2],
  ["365d", 0],
])("events --since %s shows %i of two", async (since, shown) => {
  await using rig = new VerbRig();
  const old = since === "365d" ? "2020-01-01T11:30:00.000Z" : "2026-01-01T11:30:00.000Z";
  const late = since === "365d" ? old : "2026-01-01T12:30:00.000Z";
  rig.write(".supervisor/journal/000001.ndjson", `${entry("mine", old)}\n${entry("mine", late)}\n`);
  const { out, code } = await rig.run(command, "--since", since);
  expect(out.split("\n").filter((line) => line !== "")).toHaveLength(shown);
  expect(code).toBe(0);
});

test("events -f says that the supervisor has ended, with exit code 3", async () => {
  await using rig = new VerbRig();
  rig.serve((path) => {
    if (path !== "/v1/events") return Response.json({});
    const data = `data: ${entry("mine", "2026-01-01T00:00:00.000Z")}\n\n`;
    return new Response(new ReadableStream({ start: (stream) => stream.enqueue(data) }));
  });
  const following = rig.run(command, "-f");
  await rig.shown.promise;
  await rig.endDaemon();
  expect(await following).toMatchObject({ err: "the supervisor has ended\n", code: 3 });
});

test("events -f says that a living supervisor has cut it off, with exit code 1", async () => {
  await using rig = new VerbRig();
  rig.serve((path) => (path === "/v1/events" ? new Response(": hello\n\n") : Response.json({})));
  const { err, code } = await rig.run(command, "-f");
  expect(err).toContain("the supervisor has cut off this reader");
  expect(code).toBe(1);
});

test("events gives the date of an entry that is not of today", async () => {
  await using rig = new VerbRig();
  onTestFinished(() => void vi.useRealTimers());
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 0, 2, 23, 59) });
  const entries = ["2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00.000Z"].map((at) => entry("mine", at));
  rig.write(".supervisor/journal/000001.ndjson", `${entries.join("\n")}\n`);
  const { out } = await rig.run(command);
  expect(out.split("\n").map((line) => line.replace(/ {3}mine.*/, ""))).toEqual([
    "2026-01-01 23:59:59.999",
    "00:00:00.000",
    "",
  ]);
});
