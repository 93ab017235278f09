/** The end of a bot's output, across segments, and what is appended to it. */
import { renameSync, truncateSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { readOutput } from "../../../src/platform/output-stream.ts";
import { viewOutput } from "../../../src/platform/output-view.ts";
import { beginOfLine, follow, lastLines, skipTornLine } from "../../../src/supervisor/cli/tail.ts";
import { flaw, OutputRig } from "../../actions/output-rig.ts";
import { until } from "../../platform/until.ts";

async function shown({ files }: OutputRig, lines: number): Promise<string> {
  const { segments, liveStart, end } = viewOutput(files);
  const from = await lastLines(files, { from: segments[0]?.start ?? liveStart, to: end }, lines);
  let text = "";
  for await (const { chunk } of readOutput(files, { from, to: end, onLoss: () => undefined })) text += chunk.toString();
  return text;
}

test("lastLines() finds the same lines whether they are in the file, in segments, or cut in two", async () => {
  using rig = new OutputRig();
  for (const compress of ["zstd", "gzip", "none"] as const) {
    rig.write(250_000);
    await rig.rotate({ compress });
  }
  const whole = (await rig.text()).split("\n").slice(0, -1);
  for (const lines of [0, 1, 2, 650, 700, 1_500, 2_600, 5_000, whole.length, whole.length + 9])
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    expect((await shown(rig, lines)).split("\n").length - 1, `${lines} lines`).toBe(Math.min(lines, whole.length));
  expect((await shown(rig, 1)).trimEnd()).toBe(whole.at(-1));
});

test("lastLines() counts a last line that has no end yet", async () => {
  using rig = new OutputRig();
  writeFileSync(rig.log, "a\nb\nc");
  expect([await shown(rig, 1), await shown(rig, 2), await shown(rig, 9)]).toEqual(["c", "b\nc", "a\nb\nc"]);
});

function startFollowing(rig: OutputRig): () => string {
  let text = "";
  const onChunk = (chunk: Buffer): Promise<void> => Promise.resolve(void (text += chunk.toString()));
  // It follows for ever; the folder is removed with the test, and an absent file is waited for.
  void follow(rig.files, { from: 0, clock: systemClock, onChunk, onLoss: () => undefined });
  return () => text;
}

test("follow() shows each line once across rotations", async () => {
  using rig = new OutputRig();
  rig.write(100_000);
  const text = startFollowing(rig);
  for (let n = 0; n < 4; n += 1) {
    rig.write(250_000);
    await rig.rotate();
  }
  await until("the last line", () => text().includes(`\n${rig.lines - 1} `));
  expect(flaw(text(), rig.lines)).toBeUndefined();
});

test("follow() reads a file that somebody cut or replaced from its start", async () => {
  using rig = new OutputRig();
  rig.write(10_000);
  const text = startFollowing(rig);
  await until("the first lines", () => text().length === 10_000);
  truncateSync(rig.log, 0);
  writeFileSync(rig.log, "cut\n");
  await until("the cut", () => text().endsWith("cut\n"));
  writeFileSync(`${rig.log}.new`, "replaced\n");
  renameSync(`${rig.log}.new`, rig.log);
  await until("the replacement", () => text().endsWith("replaced\n"));
  expect(text().slice(10_000)).toBe("cut\nreplaced\n");
});

test("skipTornLine() begins at the first whole line, also across segments, and shows what has no end as it is", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  await rig.rotate();
  const to = viewOutput(rig.files).end;
  expect(await skipTornLine(rig.files, { from: 4_096, to })).toBe(4_100);
  expect(await skipTornLine(rig.files, { from: 184_310, to })).toBe(184_400);
  expect(await skipTornLine(rig.files, { from: 250, to: 300 })).toBe(250);
  expect(await skipTornLine(rig.files, { from: 250, to: 290 })).toBe(250);
});

test("beginOfLine() goes back to where the line began, and stays where one begins", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  await rig.rotate();
  const begin = (to: number): Promise<number> => beginOfLine(rig.files, { from: 0, to });
  expect(await Promise.all([begin(0), begin(50), begin(4_096), begin(4_100), begin(184_320), begin(200_010)])).toEqual([
    0, 0, 4_000, 4_100, 184_300, 200_000,
  ]);
});
