/** The samples of the pages work: configs pass the checks of the config, and the Python of a bot never waits for its supervisor. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { receiveDatagrams } from "./demo/datagram-receiver.ts";
import { botWith, scratchFolder } from "./supervisor/config/folder.ts";

const folder = scratchFolder();
/** A process that waits for ever must fail the test and not hang it, ms. */
const PYTHON_TIMEOUT_MS = 15_000;

/** The blocks of one language on a page of docs/. */
function samples(page: string, language: string): string[] {
  const text = readFileSync(join(import.meta.dirname, "..", "docs", page), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, code = ""]) => code);
}

/** A sample as a whole config: it may be a list of probes, keys of a bot, or the key `bots`. */
function wholeConfig(sample: string): string {
  const lines = sample.trimEnd().split("\n");
  if (sample.startsWith("version:")) return sample;
  if (sample.startsWith("bots:")) return `version: 1\n${sample}`;
  return sample.startsWith("- ") ? botWith("probes:", ...lines.map((line) => `  ${line}`)) : botWith(...lines);
}

test.each(["emergency.md", "probes.md", "getting-started.md", "limits.md", "running.md", "systemd.md"])(
  "every config on %s has no mistake",
  (page) => {
    const found = samples(page, "yaml");
    expect(found).not.toEqual([]);
    for (const sample of found)
      expect({ sample, mistakes: folder.mistakes(wholeConfig(sample), { HEALTH_TOKEN: "token" }) }).toEqual({
        sample,
        mistakes: [],
      });
  },
);

test.skipIf(Bun.which("python3") === null)(
  "say() of the Python sample goes on when the supervisor hangs, is dead, or is gone",
  () => {
    const [sample = ""] = samples("bot-author.md", "python");
    const [say = ""] = sample.split("stopping = False");
    const program = `${say}\nfor tick in range(1000): say(WATCHDOG=1, X_PROGRESS=tick)\nprint("trading")\n`;
    const path = join(folder.dir, "notify.sock");
    const trade = (socket: Record<string, string>): string =>
      spawnSync("python3", ["-c", program], { env: socket, timeout: PYTHON_TIMEOUT_MS, encoding: "utf8" }).stdout;
    const next = receiveDatagrams(path);
    expect(trade({ NOTIFY_SOCKET: path })).toBe("trading\n");
    expect(next()).toBe("WATCHDOG=1\nX_PROGRESS=0");
    next.die();
    expect(trade({ NOTIFY_SOCKET: path })).toBe("trading\n");
    expect(trade({ NOTIFY_SOCKET: "/nowhere/notify.sock" })).toBe("trading\n");
    expect(trade({})).toBe("trading\n");
  },
);

test.skipIf(Bun.which("python3") === null)(
  "the Python sample of any-language.md trades, with and without a supervisor",
  () => {
    const [sample = ""] = samples("any-language.md", "python");
    const venue = "class Venue:\n    def price(self, symbol): return 100\n    def buy(self, *order): print(*order)";
    const program = `${sample}\n${venue}\nrun(Venue(), 1)\n`;
    const path = join(folder.dir, "sample.sock");
    const next = receiveDatagrams(path);
    const PYTHONPATH = join(import.meta.dirname, "..", "clients", "python");
    const trade = (more: Record<string, string>): string =>
      spawnSync("python3", ["-c", program], {
        env: { PYTHONPATH, PYTHONDONTWRITEBYTECODE: "1", ...more },
        timeout: PYTHON_TIMEOUT_MS,
        encoding: "utf8",
      }).stdout;
    expect(trade({ NOTIFY_SOCKET: path })).toBe("BTCUSDT 0.01 py-1\n");
    expect([next(), next(), next()]).toEqual([
      "READY=1",
      "WATCHDOG=1\nX_PROGRESS=0\nSTATUS=level normal",
      "STOPPING=1",
    ]);
    next.die();
    expect(trade({})).toBe("BTCUSDT 0.01 py-1\n");
  },
);
