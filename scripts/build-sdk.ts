/** Builds dist/bot, what `tradingbot-supervisor/bot` gives to programs that do not run under Bun: JavaScript in some files, and types. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const target = resolve(process.argv[2] ?? join(root, "dist", "bot"));
const work = `${target}-build-${process.pid}`;

function run(...command: readonly string[]): void {
  const { exitCode } = Bun.spawnSync([...command], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (exitCode === 0) return;
  rmSync(work, { recursive: true, force: true });
  process.exit(exitCode);
}

mkdirSync(work, { recursive: true });
// better-sqlite3 stays outside: it is of the bot's machine, and only a bot that keeps its state needs it.
const bundle = ["--target=node", "--format=esm", "--external=better-sqlite3", "--external=bun:ffi"];
// Split, since the state is kept by a thread that has a file of its own.
run(process.execPath, "build", ...bundle, "--splitting", `--outdir=${work}`, "src/bot/index.ts");
run(process.execPath, "x", "tsc", "-p", "scripts/tsconfig.sdk.json", "--outDir", join(work, "types"));
// The compiler rewrites the endings of imports in JavaScript only.
for (const file of new Bun.Glob("types/**/*.d.ts").scanSync({ cwd: work, absolute: true }))
  writeFileSync(file, readFileSync(file, "utf8").replaceAll(/(["'])(\.\.?\/[^"']*)\.ts\1/g, "$1$2.js$1"));
writeFileSync(join(work, "index.d.ts"), 'export * from "./types/bot/index.js";\n');
rmSync(target, { recursive: true, force: true });
renameSync(work, target);
