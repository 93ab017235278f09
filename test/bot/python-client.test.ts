/** The client for bots in Python: the golden vectors, its own tests, and that it is what it says: one file for Python 3.9 without a package. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { missingEvents, orderEvents } from "../../src/core/blackbox.ts";
import { readStart, recordedStarts } from "../../src/platform/blackbox-files.ts";

const CLIENT = join(import.meta.dirname, "..", "..", "clients", "python");

/** Fails the test, and does not hang it, when Python waits for ever, ms. */
const PATIENCE_MS = 60_000;

function python(args: readonly string[], env: Readonly<Record<string, string>> = {}): { code: number; said: string } {
  const { status, stdout, stderr } = spawnSync("python3", args, {
    cwd: CLIENT,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1", ...env },
    timeout: PATIENCE_MS,
    encoding: "utf8",
  });
  return { code: status ?? -1, said: `${stdout}${stderr}` };
}

describe.skipIf(Bun.which("python3") === null)("clients/python", () => {
  test("plays every golden vector as the TypeScript does", () => {
    const { code, said } = python(["test_vectors.py"]);
    expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/^\d{3,} checks, 0 differences\n$/) });
  });

  test("its own tests pass", { timeout: PATIENCE_MS }, () => {
    const { code, said } = python(["-m", "unittest", "test_client"]);
    expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/\nOK\n$/) });
  });

  test("speaks the grammar of Python 3.9 and imports nothing but its library", () => {
    const program = [
      "import ast, sys",
      "for name in ('supervisor_client.py', 'example_bot.py'):",
      "    tree = ast.parse(open(name, encoding='utf8').read(), feature_version=(3, 9))",
      "    named = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]",
      "    named += [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]",
      "    known = getattr(sys, 'stdlib_module_names', set(named)) | {'__future__', 'supervisor_client'}",
      "    print(name, sorted({m.split('.')[0] for m in named} - known))",
    ].join("\n");
    expect(python(["-c", program])).toEqual({ code: 0, said: "supervisor_client.py []\nexample_bot.py []\n" });
  });

  test("its black box is read as the one of a TypeScript bot", () => {
    const folder = mkdtempSync(join(tmpdir(), "python-box-"));
    try {
      const program = [
        "import os, signal",
        "from supervisor_client import Blackbox",
        "box = Blackbox(segment_bytes=4000, segments=3)",
        "for n in range(200): box.record('order.sent' if n % 50 == 0 else 'tick', {'n': n})",
        "box.record('venue', sev='error', comp='exec', msg='timed out')",
        "box.set_level('degraded'); box.loop()",
        "op = box.operation('place_order', 'sv-1'); op.__enter__()",
        "os.kill(os.getpid(), signal.SIGKILL)",
      ].join("\n");
      const env = { SUPERVISOR_BLACKBOX_DIR: folder, SUPERVISOR_GENERATION: "3", INVOCATION_ID: "0123456789ab" };
      python(["-c", program], env);
      const [start] = recordedStarts({ blackbox: folder, sealed: join(folder, "none") });
      if (start === undefined) throw new Error("there is no start");
      const { events, damaged, page } = readStart(start);
      const ordered = orderEvents(events);
      expect(start.name).toBe("000003-01234567");
      expect(damaged).toBe(0);
      expect(ordered.at(-1)).toMatchObject({ type: "venue", sev: "error", comp: "exec", msg: "timed out", seq: 201 });
      expect(ordered.filter(({ type }) => type === "order.sent").map(({ seq }) => seq)).toEqual([1, 51, 101, 151]);
      // Old ticks went, and nothing else: what is left of them has no gap.
      const ticks = ordered.filter(({ type, seq = 0 }) => type === "tick" && seq > 152);
      expect(missingEvents(ticks)).toBe(0);
      expect(page).toMatchObject({
        ops: [{ name: "place_order", detail: "sv-1" }],
        level: "degraded",
        lastError: "timed out",
        loops: 1,
        torn: false,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
