/** A PostgreSQL server on scratch: what would be left of it once it has been ended the hard way, which is its usual end. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { postgresFolders } from "../../../src/platform/postgres-tools.ts";
import { ScratchServer } from "../../../src/platform/postgres-scratch.ts";
import { missing, WHY } from "./postgres-rig.ts";

async function withFolder(deed: (folder: string) => Promise<void>): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "pg-scratch-"));
  chmodSync(scratch, 0o711);
  const folder = join(scratch, "data");
  mkdirSync(folder, { mode: 0o700 });
  try {
    await deed(folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The server's segment of System V memory, as `postmaster.pid` and the kernel name it: key and id. */
function segmentOf(folder: string): string {
  const line = readFileSync(join(folder, "postmaster.pid"), "utf8").split("\n")[6] ?? "";
  return line.trim().split(/\s+/).join(" ");
}

function segments(): readonly string[] {
  const [, ...lines] = readFileSync("/proc/sysvipc/shm", "utf8").trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/).slice(0, 2).join(" "));
}

test(
  `a server on scratch leaves no segment of System V memory, of which the machine has 4096, at its hard end${WHY}`,
  { skip: missing !== undefined, timeout: 120_000 },
  () =>
    withFolder(async (folder) => {
      const server = await ScratchServer.make(folder, postgresFolders().at(-1)?.major ?? 0);
      let segment = "";
      try {
        segment = segmentOf(folder);
        expect(segments()).toContain(segment);
      } finally {
        await server.stop();
      }
      expect(segments()).not.toContain(segment);
    }),
);

test(
  `a server on scratch keeps no memory in /dev/shm, where its hard end would leave it for ever${WHY}`,
  { skip: missing !== undefined, timeout: 120_000 },
  () =>
    withFolder(async (folder) => {
      const server = await ScratchServer.make(folder, postgresFolders().at(-1)?.major ?? 0);
      try {
        const pid = readFileSync(join(folder, "postmaster.pid"), "utf8").split("\n")[0] ?? "";
        const maps = readFileSync(`/proc/${pid}/maps`, "utf8");
        expect(maps.split("\n").filter((line) => line.includes("/dev/shm/"))).toEqual([]);
        expect(readdirSync(join(folder, "pg_dynshmem"))).not.toEqual([]);
      } finally {
        await server.stop();
      }
    }),
);
