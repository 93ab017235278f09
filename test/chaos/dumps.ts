/** What tests of crash dumps share: the dump that a rig's daemon has made, as the binary tells it and as other programs unpack it. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { until, type Rig } from "./harness.ts";

/** Makes dumps on whatever disk the tests have. */
export const ROOMY = { minFree: "1KiB", minFreeRatio: 0 };
/** Whether dumps can be unpacked without us. */
export const unpacks: boolean = Bun.which("zstd") !== null;

export interface Found {
  readonly name: string;
  readonly shown: string;
}

/** File names of all dumps. */
export function dumpsOf(rig: Rig): string[] {
  const folder = rig.state("dumps");
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".tar.zst")) : [];
}

/** The dump of the first death, as `dump show` tells it. */
export async function dumpOf(rig: Rig, patienceMs?: number): Promise<Found> {
  const name = await until("it is dumped", () => dumpsOf(rig)[0], patienceMs);
  return { name, shown: (await rig.cli("dump", "show", name)).out };
}

/** Everything in the dump, unpacked by other programs than ours. */
export function contentOf(rig: Rig, name: string): string {
  const { stdout, exitCode } = Bun.spawnSync(["sh", "-c", `zstd -dc "$0" | tar -xO`, join(rig.state("dumps"), name)]);
  expect(exitCode).toBe(0);
  return stdout.toString();
}
