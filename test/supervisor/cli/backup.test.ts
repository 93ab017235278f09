/** Commands on backups that name what there is not, or fail: one exit code for a mistake, and always a next step. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { nextStep, unprovenText } from "../../../src/supervisor/cli/backup-hints.ts";
import { command as backup } from "../../../src/supervisor/cli/backup.ts";
import { command as drill } from "../../../src/supervisor/cli/drill.ts";
import { command as restore } from "../../../src/supervisor/cli/restore.ts";
import type { Verb } from "../../../src/supervisor/cli/verb.ts";
import { BACKUP_EXIT } from "../../../src/core/backup-job.ts";
import { VerbRig } from "./verb-rig.ts";

const ID = "state-full-20260101T000000Z-abcdef";

function rigWithTarget(): VerbRig {
  const rig = new VerbRig();
  const config = {
    version: 1,
    bots: { mine: { command: ["true"] } },
    backups: {
      stores: { local: { kind: "directory", path: join(rig.dir, "store") } },
      targets: { state: { kind: "sqlite", path: join(rig.dir, "bot.db") } },
    },
  };
  rig.write("supervisor.yaml", JSON.stringify(config));
  rig.write("store/state/.keep", "");
  return rig;
}

test.each<[string, Verb, readonly string[], string]>([
  [
    "a target to back up",
    backup,
    ["run", "stat"],
    'cannot find target stat: the targets are state; did you mean "state"?',
  ],
  ["a target to restore", restore, ["stat"], 'cannot find target stat: the targets are state; did you mean "state"?'],
  ["a target to drill", drill, ["stat"], 'cannot find target stat: the targets are state; did you mean "state"?'],
  ["a store", backup, ["list", "--store", "locl"], 'the stores are local; did you mean "local"?'],
  ["a backup to verify", backup, ["verify", "--id", ID], `cannot find backup ${ID}: it is not there`],
  ["a backup to export", backup, ["export", "state", "--id", ID, "--plain", "x.db"], `there is no backup ${ID}`],
  ["a folder to export to", backup, ["export", "state", "--plain", "no/x.db"], "there is no folder "],
  ["an ending", backup, ["export", "state", "--plain", "x.txt"], "x.txt does not say what it is to be"],
  ["a backup to restore", restore, ["state", "--id", ID], `cannot restore state: there is no backup ${ID}`],
])("a command that names %s that there is not is a mistake (exit code 2)", async (_, verb, args, message) => {
  await using rig = rigWithTarget();
  await expect(rig.run(verb, ...args)).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining(message),
    hint: expect.any(String),
  });
});

test("backup export to a file that is there is a mistake (exit code 2), and replaces nothing", async () => {
  await using rig = rigWithTarget();
  rig.write("x.db", "mine");
  await expect(rig.run(backup, "export", "state", "--plain", "x.db")).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringMatching(/^cannot export state: \S+x\.db is there already$/),
  });
});

test("nextStep() names one for each way in which a deed on backups fails", () => {
  const where = { target: "state", store: "local", bucket: false, stage: undefined };
  for (const code of [2, BACKUP_EXIT.source, BACKUP_EXIT.verification, BACKUP_EXIT.space, BACKUP_EXIT.remote])
    expect(nextStep(code, where)).toContain("supervisor ");
  expect(nextStep(BACKUP_EXIT.space, { ...where, stage: "space" })).toContain("make room");
  for (const stage of ["store", "publish", "prune"] as const) {
    expect(nextStep(BACKUP_EXIT.space, { ...where, stage })).toContain("the folder of local must be there");
    expect(nextStep(BACKUP_EXIT.space, { ...where, stage })).not.toContain("make room");
  }
  expect(nextStep(BACKUP_EXIT.verification, { ...where, bucket: true })).toContain("backup copy state");
});

const line = (ok: boolean) => ({ kind: "verified", id: ID, level: "L0", ok, detail: null }) as const;

test("unprovenText() counts what does not stand, unless something else has failed", () => {
  expect(unprovenText([line(true)])).toBe(undefined);
  expect(unprovenText([line(false)])).toBe("the backup does not stand its verification");
  expect(unprovenText([line(false), line(true)])).toBe("1 of 2 backups does not stand its verification");
  expect(unprovenText([line(false), { kind: "failed", stage: "source", reason: "gone" }])).toBe(undefined);
});
