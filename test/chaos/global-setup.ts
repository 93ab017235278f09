/** Before the chaos suite: builds the binary when it is older than its sources, and copies it to a folder with nothing else in it. */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** Path of the compiled binary that the suite drives. */
    supervisorBinary: string;
  }
}

const root = join(import.meta.dirname, "..", "..");
const built = join(root, "dist", "supervisor");

/** Vitest's own hook; what it returns runs after the last test. SUPERVISOR_BINARY names a binary to test as it is. */
export function setup(project: TestProject): () => void {
  const given = process.env["SUPERVISOR_BINARY"];
  if (given === undefined && modifiedMs(built) < newestSourceMs()) build();
  const folder = mkdtempSync(join(tmpdir(), "sv-binary-"));
  const copy = join(folder, "supervisor");
  copyFileSync(given ?? built, copy);
  project.provide("supervisorBinary", copy);
  return () => rmSync(folder, { recursive: true, force: true });
}

function build(): void {
  const { exitCode } = Bun.spawnSync([process.execPath, "scripts/build.ts"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (exitCode !== 0) throw new Error(`cannot build the binary: scripts/build.ts exited with ${exitCode}`);
}

function newestSourceMs(): number {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).map((name) =>
    join(root, "src", name),
  );
  const others = ["package.json", "scripts/build.ts"].map((name) => join(root, name));
  return Math.max(...[...files, ...others].map(modifiedMs));
}

/** 0 for a file that is gone. */
function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
