/**
 * Builds dist/supervisor, or the file that is given: one file with bytecode, and split so that a verb loads only what it
 * needs. BUILD_VERSION in the environment is another version than that of package.json.
 */
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");

const target = resolve(process.argv[2] ?? join(dist, "supervisor"));
const version = process.env["BUILD_VERSION"];

function commit(): string {
  const result = Bun.spawnSync(["git", "rev-parse", "--short=12", "HEAD"], { cwd: root, stderr: "ignore" });
  return result.exitCode === 0 ? result.stdout.toString().trim() : "unknown";
}

// A folder of its own, since the bundler leaves a source map per chunk beside the binary, which embeds them anyway.
const work = `${target}-build-${process.pid}`;
const fresh = join(work, "supervisor");
mkdirSync(work, { recursive: true });
// Without bytecode and splitting a lazy import is not lazy: every start would pay for ccxt. Without the two
// no-autoload switches the binary would read `.env` and `bunfig.toml` of whatever folder it is started in.
const build = Bun.spawnSync(
  [
    process.execPath,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--sourcemap",
    "--format=esm",
    "--splitting",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--define",
    `BUILD_COMMIT=${JSON.stringify(commit())}`,
    ...(version === undefined ? [] : ["--define", `BUILD_VERSION=${JSON.stringify(version)}`]),
    "--outfile",
    fresh,
    "src/supervisor/main.ts",
  ],
  { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
);
// Renamed into place, so that a running supervisor keeps its own file.
if (build.exitCode === 0) renameSync(fresh, target);
rmSync(work, { recursive: true, force: true });
process.exit(build.exitCode);
