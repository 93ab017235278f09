/** Four suites: `unit` is part of `bun run check`; `servers` is what needs database servers of its own and takes long; `chaos` drives the compiled binary and takes minutes; `systemd` boots the shipped unit. */
import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

/** The shipped files of units and log rotation, which the bundler imports `with { type: "text" }`. */
const shippedText = {
  name: "shipped-text",
  enforce: "pre",
  load: (id: string) =>
    /\/config\/(systemd|logrotate)\/[^/]+$/.test(id)
      ? `export default ${JSON.stringify(readFileSync(id, "utf8"))};`
      : undefined,
} as const;

/** Tests that start PostgreSQL and Redis servers again and again. */
const servers = [
  "test/actions/backup/postgres*.test.ts",
  "test/actions/backup/redis-restore.test.ts",
  "test/actions/backup/drill-kinds.test.ts",
];

export default defineConfig({
  plugins: [shippedText],
  test: {
    pool: "threads",
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/chaos/**", "test/systemd/**", ...servers],
          // A thread of its own for each file would load zod, ccxt and ours again each time: a third of the suite's whole time.
          // So what a file does to the process (environment, signals, umask) it takes back.
          isolate: false,
          // For a hang, not for a slow machine: the longest take some 5 s of a processor that they may have to share.
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: { name: "servers", include: servers, testTimeout: 120_000, hookTimeout: 120_000 },
      },
      {
        extends: true,
        test: {
          name: "chaos",
          include: ["test/chaos/**/*.test.ts"],
          globalSetup: ["test/chaos/global-setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "systemd",
          include: ["test/systemd/**/*.test.ts"],
          globalSetup: ["test/systemd/global-setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
