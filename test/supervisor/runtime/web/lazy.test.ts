/** A daemon without `http` and `metrics` pays nothing for them. */
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../../..");
/** Prints what is loaded once the daemon is, and how much of it belongs to the servers after those are. */
const PROGRAM = `
  const loaded = () => Object.keys(require.cache).filter((file) => /src.(supervisor.runtime.web|report)./.test(file));
  await import("./src/supervisor/runtime/daemon.ts");
  const before = loaded();
  await import("./src/supervisor/runtime/web/servers.ts");
  console.log(JSON.stringify({ before, after: loaded().length }));
`;

test("the daemon loads the servers, the page and the metrics only when the config names a server", () => {
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", PROGRAM], { cwd: root });
  expect(stderr.toString()).toBe("");
  const { before, after } = JSON.parse(stdout.toString());
  expect(before.filter((file: string) => !/report.event-text\.ts$|runtime.web\.ts$/.test(file))).toEqual([]);
  expect(after).toBeGreaterThan(5);
});
