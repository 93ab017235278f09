/**
 * The architecture as a test: each folder may import from the folders and packages named here, and from itself.
 * Read top to bottom; nothing imports from a line above its own. The picture is in ARCHITECTURE.md.
 */
import { dirname, join, relative } from "node:path";
import { Glob } from "bun";
import { parseSync } from "oxc-parser";
import { describe, expect, test } from "vitest";

interface Layer {
  /** Other layers that this one may import from; a layer always may import from itself. */
  readonly imports: readonly string[];
  /** `name` also stands for `name/…`; a star at the end stands for anything. */
  readonly packages: readonly string[];
}

const neighbours = ["src/probes", "src/actions", "src/report"];
const ground = ["src/platform", "src/core"];

const layers: { readonly [folder: string]: Layer } = {
  "src/supervisor": { imports: ["src/supervisor/cli", ...ground], packages: ["node:*"] },
  "src/supervisor/cli": {
    imports: ["src/supervisor/runtime", ...neighbours, "src/demo", "src/bot", ...ground],
    // The files of config/ that an install writes are carried as text.
    packages: ["commander", "zod", "node:*", "package.json", "config/systemd", "config/logrotate"],
  },
  "src/supervisor/runtime": {
    imports: [...neighbours, ...ground],
    packages: ["zod", "yaml", "pino", "croner", "bun", "node:*"],
  },
  "src/probes": { imports: ground, packages: ["zod", "node:*"] },
  "src/actions": { imports: ground, packages: ["zod", "ccxt", "pino", "age-encryption", "hash-wasm", "tar", "node:*"] },
  // node:util is for styleText alone: it is pure and knows NO_COLOR.
  "src/report": { imports: ground, packages: ["zod", "node:util"] },
  "src/demo": { imports: ["src/bot", "src/core"], packages: ["zod", "ccxt", "bun", "better-sqlite3", "node:*"] },
  "src/bot": { imports: ["src/core"], packages: ["node:*", "bun:ffi", "better-sqlite3"] },
  "src/platform": {
    imports: ["src/core"],
    packages: ["node:*", "bun", "bun:*", "systeminformation", "better-sqlite3"],
  },
  "src/core": { imports: [], packages: ["zod"] },
};

const layerOf = (file: string): string | undefined =>
  Object.keys(layers)
    .filter((folder) => file.startsWith(`${folder}/`))
    .toSorted((a, b) => b.length - a.length)[0];

/** Doors that are narrower than a layer: what lies behind, and who may use it. */
const doors: readonly { readonly to: RegExp; readonly from: RegExp; readonly rule: string }[] = [
  {
    to: /^src\/demo\//,
    from: /^src\/(demo\/|supervisor\/cli\/demo[^/]*\.ts$)/,
    rule: "only cli/demo*.ts uses src/demo",
  },
  {
    to: /^src\/bot\//,
    from: /^src\/(bot\/|demo\/|supervisor\/cli\/state[^/]*\.ts$)/,
    rule: "only cli/state*.ts uses src/bot",
  },
  {
    to: /^bun:ffi$/,
    // src/bot runs in the user's process, without src/platform.
    from: /^src\/(platform\/libc\.ts$|bot\/)/,
    rule: "only platform/libc.ts uses bun:ffi",
  },
  {
    to: /^(node:)?(timers(\/promises)?|perf_hooks)$/,
    from: /^src\/(platform\/clock\.ts$|demo\/|bot\/)/,
    rule: "only platform/clock.ts uses timers",
  },
];

/** Globals that read a clock or wait; src/demo and src/bot run in processes of their own. */
const CLOCK_GLOBALS = new Set(["setTimeout", "setInterval", "performance", "Date.now", "new Date()"]);
const mayUseClock = (file: string): boolean => /^src\/(platform\/clock\.ts$|demo\/|bot\/)/.test(file);
/** Globals that would make a decision depend on more than its arguments. */
const IMPURE = new Set([...CLOCK_GLOBALS, "Date", "Math.random", "process", "Bun", "crypto", "fetch", "async"]);

interface Used {
  /** Module specifiers, however they are imported; `undefined` for one that is computed. */
  readonly modules: readonly (string | undefined)[];
  readonly globals: ReadonlySet<string>;
}

/** What `text` imports (static, type-only, re-exported, dynamic, `import("…")` types, require) and which globals it names. */
function usesOf(file: string, text: string): Used {
  const { program, module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`cannot parse ${file}: ${errors[0]?.message}`);
  const modules: (string | undefined)[] = module.staticImports.map((i) => i.moduleRequest.value);
  for (const { entries } of module.staticExports) modules.push(...entries.flatMap((e) => e.moduleRequest?.value ?? []));
  const globals = new Set<string>();
  visit(program, (node) => {
    const { type } = node;
    if (type === "ImportExpression" || type === "TSImportType") modules.push(literal(node["source"]));
    if (type === "TSExternalModuleReference") modules.push(literal(node["expression"]));
    if (type === "CallExpression" && nameOf(node["callee"]) === "require") modules.push(firstArgument(node));
    if (type === "AwaitExpression" || node["async"] === true) globals.add("async");
    const name = nameOf(node);
    if (name !== undefined) globals.add(name.replace(/^globalThis\./, ""));
    if ((type === "NewExpression" || type === "CallExpression") && nameOf(node["callee"]) === "Date")
      if (type === "CallExpression" || isEmpty(node["arguments"])) globals.add("new Date()");
  });
  return { modules: [...new Set(modules)], globals };
}

interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;
const isString = (value: unknown): value is string => typeof value === "string";

function literal(value: unknown): string | undefined {
  if (!isNode(value)) return undefined;
  if (value.type === "TSLiteralType") return literal(value["literal"]);
  return isString(value["value"]) ? value["value"] : undefined;
}

function firstArgument(node: Node): string | undefined {
  return Array.isArray(node["arguments"]) ? literal(node["arguments"][0]) : undefined;
}

/** `x` of an identifier, `x.y` of a plain member access. */
function nameOf(value: unknown): string | undefined {
  if (!isNode(value)) return undefined;
  if (value.type === "Identifier") return isString(value["name"]) ? value["name"] : undefined;
  if (value.type !== "MemberExpression" || value["computed"] === true) return undefined;
  const [object, property] = [nameOf(value["object"]), nameOf(value["property"])];
  return object === undefined || property === undefined ? undefined : `${object}.${property}`;
}

/** Field names that hold a name and not a use of it. */
const NAME_FIELDS = new Set(["property", "key"]);

/** Walks every node that is used as a value or a type; the names of members and of object keys are no uses. */
function visit(node: unknown, see: (node: Node) => void): void {
  if (!isNode(node)) return;
  see(node);
  for (const [field, value] of Object.entries(node)) {
    if (NAME_FIELDS.has(field) && node["computed"] !== true && node["shorthand"] !== true) continue;
    for (const child of Array.isArray(value) ? value : [value]) visit(child, see);
  }
}

/** The file in the tree that `specifier` names, or the package; a path into node_modules is its package. */
function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return relative("/", join("/", dirname(file), specifier)).replace(/^node_modules\//, "");
}

const mayImportPackage = (layer: Layer, specifier: string): boolean =>
  layer.packages.some(
    (name) =>
      specifier === name ||
      specifier.startsWith(`${name}/`) ||
      (name.endsWith("*") && specifier.startsWith(name.slice(0, -1))),
  );

/** Everything about `file` that the architecture forbids, one sentence each. */
function violations(file: string, text: string): string[] {
  const home = layerOf(file);
  const layer = home === undefined ? undefined : layers[home];
  if (home === undefined || layer === undefined) return [`${file} is in no layer`];
  const { modules, globals } = usesOf(file, text);
  const found: string[] = [];
  for (const specifier of modules) {
    if (specifier === undefined) {
      found.push("imports a module that is computed");
      continue;
    }
    const target = targetOf(file, specifier);
    const allowed = target.startsWith("src/")
      ? [home, ...layer.imports].includes(layerOf(target) ?? "")
      : mayImportPackage(layer, target);
    if (!allowed) found.push(`${home} must not import ${target}`);
    for (const door of doors) if (door.to.test(target) && !door.from.test(file)) found.push(door.rule);
  }
  const forbidden = home === "src/core" ? IMPURE : mayUseClock(file) ? new Set<string>() : CLOCK_GLOBALS;
  for (const name of globals) if (forbidden.has(name)) found.push(`${home} must not use ${name}`);
  return found;
}

const root = join(import.meta.dirname, "..");
const files = await Array.fromAsync(new Glob("src/**/*.ts").scan(root));

describe("the source tree", () => {
  test.each(files.toSorted())("%s uses only what its layer may", async (file) => {
    expect(violations(file, await Bun.file(join(root, file)).text())).toEqual([]);
  });

  test("has files in every layer, so that no rule guards an empty room", () => {
    expect(Object.keys(layers).filter((folder) => !files.some((file) => layerOf(file) === folder))).toEqual([]);
  });
});

/** Planted violations: a file, its text, and what must be found in it. */
const planted = [
  ["src/core/x.ts", 'import { a } from "../platform/clock.ts";', "src/core must not import src/platform/clock.ts"],
  ["src/core/x.ts", 'import type { a } from "../platform/clock.ts";', "src/core must not import src/platform/clock.ts"],
  ["src/core/x.ts", 'export * from "../platform/clock.ts";', "src/core must not import src/platform/clock.ts"],
  ["src/core/x.ts", 'export { a } from "../bot/index.ts";', "src/core must not import src/bot/index.ts"],
  ["src/core/x.ts", 'import "../platform/clock.ts";', "src/core must not import src/platform/clock.ts"],
  ["src/core/x.ts", 'type A = import("../bot/index.ts").A;', "src/core must not import src/bot/index.ts"],
  ["src/core/x.ts", 'import { readFileSync } from "node:fs";', "src/core must not import node:fs"],
  ["src/platform/x.ts", 'import { a } from "../probes/tcp.ts";', "src/platform must not import src/probes/tcp.ts"],
  ["src/platform/x.ts", 'import pino from "pino";', "src/platform must not import pino"],
  ["src/probes/x.ts", 'import { a } from "../actions/index.ts";', "src/probes must not import src/actions/index.ts"],
  ["src/actions/x.ts", 'import { a } from "../report/a.ts";', "src/actions must not import src/report/a.ts"],
  ["src/report/x.ts", 'import { a } from "node:fs";', "src/report must not import node:fs"],
  [
    "src/report/x.ts",
    'import { a } from "../supervisor/cli/a.ts";',
    "src/report must not import src/supervisor/cli/a.ts",
  ],
  [
    "src/supervisor/runtime/x.ts",
    'const a = await import("../cli/a.ts");',
    "src/supervisor/runtime must not import src/supervisor/cli/a.ts",
  ],
  ["src/supervisor/runtime/x.ts", 'import ccxt from "ccxt";', "src/supervisor/runtime must not import ccxt"],
  [
    "src/probes/x.ts",
    'import D from "../../node_modules/ccxt/js/ccxt.js";',
    "src/probes must not import ccxt/js/ccxt.js",
  ],
  [
    "src/supervisor/cli/x.ts",
    'const ccxt = await import("ccxt/js/src/binance.js");',
    "src/supervisor/cli must not import ccxt/js/src/binance.js",
  ],
  ["src/bot/x.ts", 'import { a } from "../platform/clock.ts";', "src/bot must not import src/platform/clock.ts"],
  ["src/demo/x.ts", 'import { a } from "../platform/clock.ts";', "src/demo must not import src/platform/clock.ts"],
  ["src/probes/x.ts", 'const a = await import("../" + name);', "imports a module that is computed"],
  ["src/probes/x.ts", 'const a = require("ccxt");', "src/probes must not import ccxt"],
  [
    "src/probes/x.ts",
    'import { a } from "../../test/harness/fake-clock.ts";',
    "src/probes must not import test/harness/fake-clock.ts",
  ],
  ["src/tools/x.ts", "export const a = 1;", "src/tools/x.ts is in no layer"],
  ["src/supervisor/cli/run.ts", 'await import("../../demo/bot.ts");', "only cli/demo*.ts uses src/demo"],
  ["src/supervisor/cli/run.ts", 'await import("../../bot/index.ts");', "only cli/state*.ts uses src/bot"],
  ["src/platform/x.ts", 'import { dlopen } from "bun:ffi";', "only platform/libc.ts uses bun:ffi"],
  ["src/probes/x.ts", 'import { setTimeout as s } from "node:timers/promises";', "only platform/clock.ts uses timers"],
  ["src/probes/x.ts", "setTimeout(() => {}, 1);", "src/probes must not use setTimeout"],
  ["src/probes/x.ts", "globalThis.setInterval(() => {}, 1);", "src/probes must not use setInterval"],
  ["src/actions/x.ts", "const t = performance.now();", "src/actions must not use performance"],
  ["src/platform/x.ts", "const t = Date.now();", "src/platform must not use Date.now"],
  ["src/report/x.ts", "const t = new Date();", "src/report must not use new Date()"],
  ["src/core/x.ts", "const t = new Date(0);", "src/core must not use Date"],
  ["src/core/x.ts", "const r = Math.random();", "src/core must not use Math.random"],
  ["src/core/x.ts", "const e = process.env;", "src/core must not use process"],
  ["src/core/x.ts", "const f = Bun.file;", "src/core must not use Bun"],
  ["src/core/x.ts", "export async function a() {}", "src/core must not use async"],
] as const;

describe("violations()", () => {
  test.each(planted)("finds in %s: %s", (file, text, violation) => {
    expect(violations(file, text)).toContain(violation);
  });

  test.each([
    ["src/core/x.ts", 'import * as z from "zod"; import { a } from "./a.ts";'],
    ["src/core/x.ts", "export const f = (clock: { setTimeout: number }) => clock.setTimeout;"],
    ["src/supervisor/cli/demo.ts", 'const { a } = await import("../../demo/bot.ts");'],
    ["src/supervisor/cli/demo-story.ts", 'const { a } = await import("../../demo/bot.ts");'],
    ["src/actions/x.ts", 'const ccxt = await import("ccxt/js/src/binance.js");'],
    ["src/actions/x.ts", 'import { b } from "../../node_modules/ccxt/js/src/binance.js";'],
    ["src/demo/x.ts", 'import D from "better-sqlite3/linux-x64"; setTimeout(() => {}, Date.now());'],
    ["src/platform/clock.ts", "export const now = () => performance.now() + Date.now(); setTimeout(now, 1);"],
    ["src/platform/libc.ts", 'import { dlopen } from "bun:ffi";'],
    ["src/probes/x.ts", "export const at = (ms: number): Date => new Date(ms);"],
  ])("finds nothing in %s: %s", (file, text) => {
    expect(violations(file, text)).toEqual([]);
  });
});
