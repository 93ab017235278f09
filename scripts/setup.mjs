#!/usr/bin/env node
/**
 * Does all the set-up that `npm run demo` and `npm test` need in a fresh clone, then runs it. Node and npm suffice:
 * packages come by `npm install`, Bun among them, and nothing is installed outside the clone.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const modules = join(root, "node_modules");
const binary = join(root, "dist", "supervisor");
const arch = { x64: "x64", arm64: "aarch64" }[process.arch];

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Runs a command in the clone; ends this script with its exit code when it fails. */
function run(command, args, options = {}) {
  const env = { ...process.env, PATH: `${join(modules, ".bin")}:${process.env.PATH ?? ""}` };
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", env, ...options });
  if (result.error !== undefined) fail(`cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Installs what package-lock.json names, unless exactly that is there already. */
function installPackages() {
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const mark = join(modules, ".installed-lock");
  if (existsSync(mark) && readFileSync(mark, "utf8") === wanted) return;
  // Not `npm ci`: it refuses a lock file whose optional packages for other platforms the registry at hand does not have.
  // The versions and hashes are those of the lock file all the same, and --no-save leaves it as it is.
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
  writeFileSync(mark, wanted);
}

/** The npm package `bun` is a stand-in until its install script has run, which npm may have been told not to do. */
function finishBun() {
  const works = spawnSync(join(modules, ".bin", "bun"), ["--version"], { stdio: "ignore" }).status === 0;
  if (!works) run(process.execPath, [join(modules, "bun", "install.js")]);
}

/**
 * Node 22 into node_modules where the machine has an older one: the SDK is tested under it. It is no package that anything of
 * ours needs, and not every registry has it: without it those tests are skipped, and that is said.
 */
function fetchNode() {
  if (Number(process.versions.node.split(".")[0]) >= 22 || process.env.SDK_TEST_NODE !== undefined) return;
  const folder = join(modules, ".node-22");
  const program = join(folder, "bin", "node");
  if (!existsSync(program)) {
    const name = `node-linux-${process.arch}`;
    const scratch = join(modules, ".node-22.new");
    rmSync(scratch, { recursive: true, force: true });
    const args = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", scratch];
    spawnSync("npm", [...args, `${name}@22`], { stdio: "inherit" });
    const fetched = join(scratch, "node_modules", name);
    if (existsSync(join(fetched, "bin", "node"))) renameSync(fetched, folder);
    rmSync(scratch, { recursive: true, force: true });
  }
  const works = spawnSync(program, ["--version"], { encoding: "utf8" }).stdout?.startsWith("v22.") ?? false;
  process.stderr.write(
    works ? `Node 22 for tests: ${program}\n` : "no Node 22 here: the tests that need it are skipped\n",
  );
}

function newestSource(folder) {
  let newest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestSource(path) : statSync(path).mtimeMs);
  }
  return newest;
}

/** Builds the binary unless it is newer than every source. */
function build() {
  const sources = [newestSource(join(root, "src")), newestSource(join(root, "scripts"))];
  const newest = Math.max(...sources, statSync(join(root, "package-lock.json")).mtimeMs);
  if (existsSync(binary) && statSync(binary).mtimeMs > newest) return;
  run("bun", ["scripts/build.ts"]);
}

if (process.platform !== "linux" || arch === undefined)
  fail(`cannot run here: supervisor is for Linux on x64 or arm64, this is ${process.platform} on ${process.arch}`);
const [task, ...rest] = process.argv.slice(2);
installPackages();
finishBun();
switch (task) {
  case "demo":
    build();
    run(binary, ["demo", ...rest]);
    break;
  case "node":
    fetchNode();
    break;
  case "test":
    fetchNode();
    build();
    run("bun", ["run", "check"]);
    run("bun", ["run", "servers"]);
    run("bun", ["run", "simulate"]);
    run("bun", ["run", "chaos"]);
    // Another seed each time; it is printed, and repeats the run.
    run("bun", ["run", "chaos", "--minutes", "1"]);
    break;
  default:
    fail(`cannot set up for "${task ?? ""}": use npm run demo, npm test or node scripts/setup.mjs node`);
}
