/** The proof that nothing of a bot lives: it is given at once where it is true, and withheld while anything has escaped. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { detectCgroup } from "../../src/platform/cgroup.ts";
import { FIXTURES } from "./until.ts";

const support = detectCgroup();
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "descent-"));
  writeFileSync(join(folder, "pid"), "");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What the fixture answers for a bot that runs the script; the orphan's pid goes to $PIDFILE, 0 for none. */
function prove(script: string, leave = false): unknown {
  const fixture = join(FIXTURES, "prove-end.ts");
  const more = leave ? ["leave"] : [];
  const cmd = [process.execPath, fixture, script, join(folder, "pid"), ...more];
  const { stdout, stderr } = Bun.spawnSync(cmd, { timeout: 30_000 });
  const text = stdout.toString();
  if (text === "") throw new Error(stderr.toString());
  return JSON.parse(text);
}

const escape = "env -i setsid sh -c 'echo $$ >'\"$PIDFILE\"'; exec sleep 60' & exec sleep 60";

test.skipIf(support.base === undefined)("isProvenGone() proves the end of a bot that leaves nobody", () => {
  const answers = prove('echo 0 >"$PIDFILE"; exec sleep 60');
  expect(answers).toEqual({ alive: false, withOrphan: true, gone: true, survivors: 0 });
});

test.skipIf(support.base === undefined)("isProvenGone() sees an orphan without session and environment", () => {
  expect(prove(escape)).toEqual({ alive: false, withOrphan: false, gone: true, survivors: 0 });
});

test.skipIf(support.base === undefined)("isProvenGone() sees an orphan that left its cgroup too", () => {
  expect(prove(escape, true)).toEqual({ alive: false, withOrphan: false, gone: true, survivors: 0 });
});
