/**
 * The linter's rules, proven to bite: one planted violation each, seen by the real oxlint with the project's own config.
 * The plants live in a temporary folder that looks like the repository, so that the tree stays clean whatever happens.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as z from "zod";

const root = join(import.meta.dirname, "..");
/** Runs of oxlint take 0.3 s; a loaded machine may take longer, but never this long, in ms. */
const LINT_TIMEOUT_MS = 20_000;

interface Plant {
  readonly file: string;
  readonly text: string;
  /** Name of the rule as oxlint prints it; `undefined` for a file that must pass. */
  readonly rule: string | undefined;
  readonly why: string;
}

const longFunction = `export function f(): number {\n${"  g();\n".repeat(71)}  return 1;\n}\nfunction g(): void {}\n`;

const plants: readonly Plant[] = [
  {
    file: "src/platform/floating.ts",
    text: "export async function send(): Promise<void> {}\nexport function f(): void {\n  send();\n}\n",
    rule: "typescript(no-floating-promises)",
    why: "a promise that nobody waits for",
  },
  {
    file: "src/platform/misused.ts",
    text: "export function f(on: (done: () => void) => void): void {\n  on(async () => {});\n}\n",
    rule: "typescript(no-misused-promises)",
    why: "an async callback where nobody waits",
  },
  {
    file: "src/core/date.ts",
    text: "export const startedAtMs = Date.now();\n",
    rule: "eslint(no-restricted-globals)",
    why: "a clock in core",
  },
  {
    file: "src/core/timer.ts",
    text: "export const f = (): unknown => setTimeout(() => 1, 1);\n",
    rule: "eslint(no-restricted-globals)",
    why: "a timer in core",
  },
  {
    file: "src/core/up.ts",
    text: 'export { clean } from "../platform/clean.ts";\n',
    rule: "eslint(no-restricted-imports)",
    why: "an import from core to another layer",
  },
  {
    file: "src/core/node.ts",
    text: 'export { join } from "node:path";\n',
    rule: "eslint(no-restricted-imports)",
    why: "a platform module in core",
  },
  {
    file: "src/probes/act.ts",
    text: 'export { clean } from "../actions/clean.ts";\n',
    rule: "eslint(no-restricted-imports)",
    why: "a probe that acts",
  },
  {
    file: "src/platform/switch.ts",
    text: 'export function f(u: "a" | "b"): number {\n  switch (u) {\n    case "a":\n      return 1;\n  }\n  return 0;\n}\n',
    rule: "typescript(switch-exhaustiveness-check)",
    why: "a switch that forgets a case",
  },
  {
    file: "src/platform/any.ts",
    text: "export const f = (x: any): unknown => x;\n",
    rule: "typescript(no-explicit-any)",
    why: "an explicit any",
  },
  {
    file: "src/platform/console.ts",
    text: 'export const f = (): void => console.log("x");\n',
    rule: "eslint(no-console)",
    why: "console in the program",
  },
  {
    file: "src/platform/throw.ts",
    text: 'export function f(): never {\n  throw "text";\n}\n',
    rule: "typescript(only-throw-error)",
    why: "a throw of something that is no error",
  },
  {
    file: "src/platform/cast.ts",
    text: "export const f = (x: unknown): string => x as string;\n",
    rule: "typescript(no-unsafe-type-assertion)",
    why: "a cast without a reason",
  },
  {
    file: "src/platform/cycle-a.ts",
    text: 'import { b } from "./cycle-b.ts";\nexport const a = (): number => b();\n',
    rule: "import(no-cycle)",
    why: "an import cycle",
  },
  {
    file: "src/platform/cycle-b.ts",
    text: 'import { a } from "./cycle-a.ts";\nexport const b = (): number => a();\n',
    rule: "import(no-cycle)",
    why: "the other end of the cycle",
  },
  { file: "src/platform/long.ts", text: longFunction, rule: "eslint(max-lines-per-function)", why: "a long function" },
  { file: "src/platform/clean.ts", text: "export const clean = 1;\n", rule: undefined, why: "a clean file" },
  { file: "src/actions/clean.ts", text: "export const clean = Date.now();\n", rule: undefined, why: "Date elsewhere" },
  {
    file: "scripts/print.ts",
    text: 'export const print = (): void => console.log("x");\n',
    rule: undefined,
    why: "console in a script",
  },
];

const reportSchema = z.object({ diagnostics: z.array(z.object({ code: z.string(), filename: z.string() })) });
const found = new Map<string, string[]>();
const folder = mkdtempSync(join(tmpdir(), "supervisor-lint-"));

beforeAll(async () => {
  for (const name of [".oxlintrc.json", "tsconfig.json", "package.json"])
    copyFileSync(join(root, name), join(folder, name));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const { file, text } of plants) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  const oxlint = Bun.spawn([join(root, "node_modules/.bin/oxlint"), "--format", "json"], {
    cwd: folder,
    stdout: "pipe",
    stderr: "inherit",
    timeout: LINT_TIMEOUT_MS,
  });
  const report = reportSchema.parse(await new Response(oxlint.stdout).json());
  for (const { code, filename } of report.diagnostics) found.set(filename, [...(found.get(filename) ?? []), code]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("oxlint", () => {
  test.each(plants.filter((p) => p.rule !== undefined))("refuses $why ($rule)", ({ file, rule }) => {
    expect(found.get(file)).toContain(rule);
  });

  test.each(plants.filter((p) => p.rule === undefined))("accepts $why", ({ file }) => {
    expect(found.get(file)).toBeUndefined();
  });
});
