/** The package as a bot gets it, and the page about it: every example runs, is typed, and prints what it says; every import is named. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as sdk from "../../src/bot/index.ts";
import { modernNode } from "../harness/node.ts";

const root = join(import.meta.dirname, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "sdk-page-"));
const page = readFileSync(join(root, "docs", "sdk.md"), "utf8");
const examples = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code = ""]) => code);
const built = join(folder, "node_modules", "tradingbot-supervisor", "dist", "bot");
/** A program that waits for ever must fail the test and not hang it, ms. */
const TIMEOUT_MS = 60_000;

function run(command: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8", timeout: TIMEOUT_MS });
  return { status, stdout, stderr };
}

beforeAll(() => {
  mkdirSync(join(built, ".."), { recursive: true });
  const build = spawnSync(process.execPath, [join(root, "scripts", "build-sdk.ts"), built], { encoding: "utf8" });
  if (build.status !== 0) throw new Error(`cannot build the SDK: ${build.stdout}${build.stderr}`);
  for (const file of ["package.json", "src"]) symlinkSync(join(root, file), join(built, "..", "..", file));
  // Types name it; a package manager installs it beside the package, since it is one of its dependencies.
  for (const name of ["zod", "better-sqlite3"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  copyFileSync(join(root, "test", "fixtures", "sdk-exchange.ts"), join(folder, "exchange.ts"));
  examples.forEach((code, n) => writeFileSync(join(folder, `example-${n}.ts`), code));
}, TIMEOUT_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const promised = (code: string): string[] => [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, text = ""]) => text);

test.concurrent.each(examples.map((code, n) => ({ n, code })))(
  "example $n of docs/sdk.md prints what it says",
  ({ n, code }) => {
    const { stdout, stderr, status } = run(process.execPath, [`example-${n}.ts`]);
    expect({ status, stderr, lines: stdout.trimEnd().split("\n") }).toEqual({
      status: 0,
      stderr: "",
      lines: promised(code),
    });
  },
  TIMEOUT_MS,
);

test(
  "the examples of docs/sdk.md have the types that the built package gives",
  () => {
    const compilerOptions = {
      strict: true,
      noEmit: true,
      module: "nodenext",
      target: "esnext",
      allowImportingTsExtensions: true,
      types: ["node"],
      typeRoots: [join(root, "node_modules", "@types")],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["example-*.ts"] }));
    expect(run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "."])).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
  },
  TIMEOUT_MS,
);

test("docs/sdk.md names everything that can be imported", () => {
  expect(Object.keys(sdk).filter((name) => !page.includes(name))).toEqual([]);
});

test("the built package has everything that the sources export, and nothing that only Bun can load", async () => {
  const code = readFileSync(join(built, "index.js"), "utf8");
  expect(code).not.toMatch(/^import .* from "(bun|zod|ccxt)/m);
  const loaded: object = await import(join(built, "index.js"));
  expect(Object.keys(loaded).toSorted()).toEqual(Object.keys(sdk).toSorted());
});

test.skipIf(modernNode === undefined)(
  "the built package sends an order once under Node 22 (skipped where there is none)",
  () => {
    const orders = examples.findIndex((code) => code.includes("ccxtOrders"));
    rmSync(join(folder, "state"), { recursive: true, force: true });
    const { stdout, status } = run(modernNode ?? "", [
      "--no-warnings",
      "--experimental-strip-types",
      `example-${orders}.ts`,
    ]);
    expect({ status, lines: stdout.trimEnd().split("\n") }).toEqual({
      status: 0,
      lines: promised(examples[orders] ?? ""),
    });
  },
);

const KEEPS_STATE = `import { openStore } from "tradingbot-supervisor/bot";
const open = () => openStore({ folder: "kept-" + process.argv[2] });
const first = await open();
await first.put("strategy", "momentum");
await first.close();
const second = await open();
console.log(await second.get("strategy"), second.report.kind);
await second.close();
`;

function keepState(program: string, name: string) {
  writeFileSync(join(folder, "keeps.mjs"), KEEPS_STATE.replace("tradingbot-supervisor/bot", `${built}/index.js`));
  return run(program, ["keeps.mjs", name]);
}
const KEPT = { stdout: "momentum clean\n", stderr: "", status: 0 };

test("the built package keeps a bot's state", () => {
  expect(keepState(process.execPath, "bun")).toEqual(KEPT);
});

test.skipIf(modernNode === undefined)(
  "the built package keeps a bot's state under Node 22 (skipped where there is none)",
  () => {
    expect(keepState(modernNode ?? "", "node")).toEqual(KEPT);
  },
);
