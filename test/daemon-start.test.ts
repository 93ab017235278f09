/** What the daemon must not do before its first bot runs, and a command before its answer: each import is paid for at every start. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseSync } from "oxc-parser";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

interface Loaded {
  readonly packages: ReadonlySet<string>;
  /** Constants that are built by zod as the file is loaded. */
  readonly eager: readonly string[];
}

/** Name of the leftmost identifier of `a.b(…).c(…)`. */
function rootOf(node: unknown): string | undefined {
  if (typeof node !== "object" || node === null || !("type" in node)) return undefined;
  if (node.type === "Identifier" && "name" in node) return String(node.name);
  if (node.type === "MemberExpression" && "object" in node) return rootOf(node.object);
  if (node.type === "CallExpression" && "callee" in node) return rootOf(node.callee);
  return undefined;
}

/** Everything that a static import of `entry` loads. */
function loadedBy(entry: string): Loaded & { readonly files: ReadonlySet<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const eager: string[] = [];
  const queue = [entry];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const { program, module } = parseSync(file, readFileSync(join(ROOT, file), "utf8"));
    const reexports = module.staticExports.flatMap(({ entries }) => entries.filter((each) => !each.isType));
    const modules = [
      ...module.staticImports
        .filter(({ entries }) => entries.length === 0 || entries.some((each) => !each.isType))
        .map(({ moduleRequest }) => moduleRequest.value),
      ...reexports.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []),
    ];
    for (const name of modules) {
      const target = join(dirname(file), name);
      if (!name.startsWith(".")) packages.add(name);
      else if (target.endsWith(".ts") && existsSync(join(ROOT, target))) queue.push(target);
    }
    for (const statement of program.body) {
      const inner = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
      if (inner?.type !== "VariableDeclaration") continue;
      for (const { id, init } of inner.declarations)
        if (init?.type === "CallExpression" && rootOf(init) === "z") eager.push(`${file}: ${rootOf(id) ?? "?"}`);
    }
  }
  return { files, packages, eager };
}

describe("the start of the daemon", () => {
  const { files, packages, eager } = loadedBy("src/supervisor/cli/run.ts");

  test("is followed through the whole graph of its imports", () => {
    expect(files.size).toBeGreaterThan(150);
    expect(packages).toContain("zod");
  });

  test("builds no schema: core/later.ts puts that off to its first use", () => {
    expect(eager).toEqual([]);
  });

  test.for(["ccxt", "commander", "yaml", "better-sqlite3", "pino", "node:crypto"])("does not load %s", (name) => {
    expect([...packages].filter((each) => each === name || each.startsWith(`${name}/`))).toEqual([]);
  });
});

describe.for(["status", "stop", "start", "restart"])("the start of supervisor %s", (verb) => {
  const { packages } = loadedBy(`src/supervisor/cli/${verb}.ts`);
  const { packages: entry } = loadedBy("src/supervisor/main.ts");

  test("loads nothing that costs more than the command: node:path and bun:ffi alone", () => {
    expect([...new Set([...packages, ...entry])].toSorted()).toEqual(["bun:ffi", "node:path"]);
  });
});
