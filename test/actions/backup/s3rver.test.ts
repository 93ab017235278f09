/** Copies in a store that others wrote: s3rver, as a second opinion on what S3 means. */
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import type { RemoteSettings } from "../../../src/core/backup-remote.ts";
import { RemoteRig } from "./remote-rig.ts";

/** A machine that is ten times slower is no fault. */
vi.setConfig({ testTimeout: 120_000 });

/** Its program beside its main file. */
const PROGRAM = join(dirname(createRequire(import.meta.url).resolve("s3rver/package.json")), "bin", "s3rver.js");

/** A server on a port of the kernel's choice; the settings for it. */
async function serve(
  folder: string,
): Promise<{ readonly settings: Partial<RemoteSettings>; readonly end: () => void }> {
  mkdirSync(folder);
  // It goes on telling of each request, so its words go into a file.
  const log = `${folder}.log`;
  const server = Bun.spawn(
    [process.execPath, PROGRAM, "-d", folder, "-a", "127.0.0.1", "-p", "0", "--configure-bucket", "vault"],
    { stdio: ["ignore", Bun.file(log), "ignore"] },
  );
  const port = await vi.waitUntil(() => /listening on 127\.0\.0\.1:(\d+)/.exec(readFileSync(log, "utf8"))?.[1], 20_000);
  const keys = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER", region: "us-east-1" };
  return { settings: { endpoint: `http://127.0.0.1:${port}`, ...keys }, end: () => server.kill("SIGKILL") };
}

test("s3rver takes, lists, gives back, proves and deletes copies as our own store does", async () => {
  await using rig = await RemoteRig.open();
  const { settings, end } = await serve(join(rig.folder, "s3rver"));
  try {
    await rig.backUpOrders();
    await rig.backUp(rig.job(rig.sqlite));
    const [first, second] = rig.repository().list().backups;
    const strict = { retention: { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 }, force: true };
    expect((await rig.remotely(rig.remoteJob("probe", {}, settings))).code).toBe(0);
    expect((await rig.remotely(rig.remoteJob("copy", {}, settings))).code).toBe(0);
    const there = await rig.remotely(rig.remoteJob("look", {}, settings));
    expect(there.lines).toMatchObject([
      { id: first?.id, damage: null },
      { id: second?.id, damage: null },
    ]);
    expect((await rig.remotely(rig.remoteJob("verify", {}, settings))).code).toBe(0);
    expect((await rig.remotely(rig.remoteJob("fetch", { id: first?.id }, settings))).code).toBe(0);
    const fetched = readFileSync(join(rig.folder, "fetched", "state", first?.id ?? "", "data.000"));
    expect(fetched.equals(readFileSync(join(first?.folder ?? "", "data.000")))).toBe(true);
    expect((await rig.remotely(rig.remoteJob("prune", strict, settings))).code).toBe(0);
    expect((await rig.remotely(rig.remoteJob("look", {}, settings))).lines).toMatchObject([{ id: second?.id }]);
  } finally {
    end();
  }
});
