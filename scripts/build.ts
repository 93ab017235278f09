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

/**
 * ccxt imports the curve of Starknet into every venue's class, and the curve makes its tables as it is loaded: some 25 ms of the
 * first request of a close, for venues that few have. It is loaded by the first of its functions that is called.
 */
const starknetLater: Bun.BunPlugin = {
  name: "starknet-later",
  setup(builder) {
    const file = Bun.resolveSync("@scure/starknet", join(root, "node_modules", "ccxt"));
    builder.onResolve({ filter: /^@scure\/starknet$/ }, () => ({ path: "curve", namespace: "starknet-later" }));
    builder.onLoad({ filter: /.*/, namespace: "starknet-later" }, async () => {
      const functions = Object.entries(await import(file)).filter(([, value]) => typeof value === "function");
      const lines = functions.map(([name]) => `export const ${name} = (...words) => curve().${name}(...words);`);
      const contents = [`const curve = () => require(${JSON.stringify(file)});`, ...lines].join("\n");
      return { contents, loader: "js" };
    });
  },
};

/**
 * zod makes its classes as it is loaded: some 5 ms of each start, and the daemon starts its first bot without a schema. It is loaded by
 * the first of its functions that is called, and configured then.
 */
const zodLater: Bun.BunPlugin = {
  name: "zod-later",
  setup(builder) {
    const file = Bun.resolveSync("zod", root);
    builder.onResolve({ filter: /^zod$/ }, () => ({ path: "zod", namespace: "zod-later" }));
    builder.onLoad({ filter: /.*/, namespace: "zod-later" }, async () => {
      // Its classes are left out: a stand-in for one would be no class. Whoever comes to need one is told by the bundler.
      const parts = Object.entries(await import(file)).filter(
        ([name]) => /^([a-z]\w*|NEVER)$/.test(name) && name !== "default",
      );
      const lines = parts.flatMap(([name, part]) => {
        if (name === "config") return [];
        const own =
          typeof part === "function"
            ? `(...words) => zod().${name}(...words)`
            : `/* @__PURE__ */ new Proxy({}, { get: (_, key) => zod().${name}[key] })`;
        // Some have names that JavaScript keeps for itself, as `enum`.
        return [`const _${name} = ${own};`, `export { _${name} as ${name} };`];
      });
      const contents = `
        const settings = [];
        let loaded;
        const zod = () => {
          if (loaded !== undefined) return loaded;
          loaded = require(${JSON.stringify(file)});
          for (const each of settings) loaded.config(each);
          return loaded;
        };
        export const config = (each) => (loaded === undefined ? void settings.push(each) : loaded.config(each));
        ${lines.join("\n")}`;
      return { contents, loader: "js" };
    });
  },
};

// A folder of its own, since the bundler leaves a source map per chunk beside the binary, which embeds them anyway.
const work = `${target}-build-${process.pid}`;
const fresh = join(work, "supervisor");
mkdirSync(work, { recursive: true });
// Without bytecode and splitting a lazy import is not lazy: every start would pay for ccxt. Without the two
// autoload switches the binary would read `.env` and `bunfig.toml` of whatever folder it is started in.
const build = await Bun.build({
  entrypoints: ["src/supervisor/main.ts"],
  root,
  minify: true,
  bytecode: true,
  sourcemap: "linked",
  format: "esm",
  splitting: true,
  // The thread of a bot's state is started by the name of its file.
  naming: { chunk: "[name]-[hash].[ext]" },
  target: "bun",
  define: {
    BUILD_COMMIT: JSON.stringify(commit()),
    ...(version === undefined ? {} : { BUILD_VERSION: JSON.stringify(version) }),
  },
  compile: { outfile: fresh, autoloadDotenv: false, autoloadBunfig: false },
  plugins: [starknetLater, zodLater],
  throw: false,
});
// A warning is a name that is not there when it is called.
for (const log of build.logs) console.error(log);
const built = build.success && build.logs.every(({ level }) => level !== "warning");
// Renamed into place, so that a running supervisor keeps its own file.
if (built) renameSync(fresh, target);
rmSync(work, { recursive: true, force: true });
process.exit(built ? 0 : 1);
