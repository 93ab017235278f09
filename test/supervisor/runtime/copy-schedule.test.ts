/** The daemon's copies: what is said, and how often, when a store cannot even be asked. */
import { expect, test } from "vitest";
import { Copies } from "../../../src/supervisor/runtime/copy-schedule.ts";
import { FakeClock } from "../../harness/fake-clock.ts";
import { scratchFolder } from "../config/folder.ts";
import { recordOfBackup } from "./backup-record.ts";

const folder = scratchFolder();
const MINUTE_MS = 60_000;

test("Copies says that a key is not there once in a quarter of an hour, and status says it all the time", async () => {
  const clock = new FakeClock();
  const loaded = folder.load(
    [
      "version: 1",
      "stateDir: state",
      "bots: { a: { command: [sh] } }",
      "backups:",
      "  stores:",
      "    local: { kind: directory, path: store }",
      '    away: { kind: s3, endpoint: "http://127.0.0.1:1", bucket: vault, accessKeyIdFile: nowhere, secretAccessKeyFile: nowhere }',
      "  targets: { conf: { kind: files, paths: [x] } }",
      "",
    ].join("\n"),
  );
  folder.write("state/backups/conf@local.json", recordOfBackup(clock));
  const said: string[] = [];
  const copies = new Copies({ loaded, clock, say: (_level, text) => void said.push(text) });
  copies.adopt(loaded);
  const lookFor = async (minutes: number): Promise<void> => {
    for (let minute = 0; minute < minutes; minute += 1) {
      copies.look(clock.wallTime().getTime());
      // A look that finds no key does no I/O: it is over by the next turn of the loop.
      await Bun.sleep(0);
      clock.advance(MINUTE_MS);
    }
  };
  await lookFor(15);
  expect(said).toEqual([expect.stringMatching(/^cannot copy the backups of conf to away: .*nowhere is not there$/)]);
  expect(copies.status(clock.wallTime().getTime())).toMatchObject([
    { store: "away", lastSuccessAt: null, lastError: expect.stringMatching(/nowhere is not there$/), overdue: false },
  ]);
  await lookFor(2);
  expect(said).toHaveLength(2);
  expect(copies.status(clock.wallTime().getTime() + 6 * 60 * MINUTE_MS)).toMatchObject([{ overdue: true }]);
});
