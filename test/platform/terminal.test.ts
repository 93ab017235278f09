import { join } from "node:path";
import { expect, test } from "vitest";
import { terminalColumns } from "../../src/platform/terminal.ts";

test("terminalColumns() of what is no terminal is undefined", () => {
  expect(terminalColumns(-1)).toBeUndefined();
});

test.each([[80], [213]])("terminalColumns() tells a terminal of %i columns", async (cols) => {
  const file = join(import.meta.dirname, "../../src/platform/terminal.ts");
  const code = `import { terminalColumns } from ${JSON.stringify(file)}; console.log("<" + terminalColumns(1) + ">")`;
  let said = "";
  const { promise: told, resolve } = Promise.withResolvers<void>();
  const data = (_terminal: unknown, bytes: Uint8Array): void => {
    said += new TextDecoder().decode(bytes);
    if (said.includes(">")) resolve();
  };
  await using child = Bun.spawn([process.execPath, "-e", code], { terminal: { cols, data } });
  await told;
  expect(said).toContain(`<${cols}>`);
  expect(await child.exited).toBe(0);
});
