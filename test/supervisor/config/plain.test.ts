/** The quick way to a config makes of it what the schema and the YAML parser make of it, or leaves it to them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import * as z from "zod";
import { real } from "../../../src/core/later.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { loadPlain } from "../../../src/supervisor/runtime/config/load-plain.ts";
import { PLAIN_TABLE } from "../../../src/supervisor/runtime/config/plain-table.ts";
import { parsePlain } from "../../../src/supervisor/runtime/config/plain-yaml.ts";
import { plainValue } from "../../../src/supervisor/runtime/config/plain.ts";
import { configSchema } from "../../../src/supervisor/runtime/config/schema.ts";
import { parseSource } from "../../../src/supervisor/runtime/config/source.ts";
import { shapeOf } from "../../../src/supervisor/runtime/config/shape.ts";
import { starterConfig } from "../../../src/supervisor/runtime/config/starter.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();

/** What the real parser says; `undefined` for a text in which it finds a mistake. */
function parsed(text: string): unknown {
  const { root, issues } = parseSource(text, {});
  return issues.length === 0 ? root : undefined;
}

const words = [
  "a",
  "bot.py",
  "30s",
  "0x1f",
  "1e3",
  "-5",
  "1.50",
  "null",
  "true",
  "No",
  "a b",
  "a: b",
  "a #b",
  "#a",
  "'",
  "-",
  "- a",
  "",
  "~",
  "http://x/y",
  "C:",
  "[a",
  "010",
  "1_000",
  "+1",
  ".5",
  "é",
];
const scalar = fc.oneof(
  fc.constantFrom(...words),
  fc.string({ maxLength: 6 }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
);
const key = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom("a", "b", "env", "A_B", "x.y", "k-1") },
  { weight: 1, arbitrary: fc.constantFrom("true", "1", "a b", "__proto__", "<<") },
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { depthSize: "small" },
    scalar,
    fc.array(tie("tree"), { maxLength: 3 }),
    fc.dictionary(key, tie("tree"), { maxKeys: 3 }),
  ),
}));
const document = fc.dictionary(key, tree, { minKeys: 1, maxKeys: 4 });
const text = fc.oneof(
  document.map((root) => stringify(root)),
  document.map((root) => JSON.stringify(root)),
  document.map((root) => JSON.stringify(root, null, 2)),
  document.map((root) => stringify(root, { collectionStyle: "flow" })),
);

// Safe: the property asserts.
// oxlint-disable-next-line vitest/expect-expect
test("parsePlain() reads what the YAML parser reads, or leaves it to that", () => {
  fc.assert(
    fc.property(text, (written) => {
      const plain = parsePlain(written);
      expect(plain).toEqual(plain === undefined ? undefined : parsed(written));
    }),
    { numRuns: 1_000 },
  );
});

// Safe: the property asserts.
// oxlint-disable-next-line vitest/expect-expect
test("parsePlain() takes no text for plain that the YAML parser refuses or reads otherwise, wherever it was damaged", () => {
  const damage = fc.record({
    at: fc.nat(400),
    cut: fc.nat(3),
    put: fc.constantFrom(
      " ",
      "\n",
      "  ",
      ":",
      "-",
      "#",
      ",",
      '"',
      "'",
      "{",
      "]",
      "a",
      "\t",
      "\n\n",
      ": ",
      " #",
      "- ",
      "&a ",
      "*a",
      "|",
      "\\",
      "?",
    ),
  });
  fc.assert(
    fc.property(text, fc.array(damage, { minLength: 1, maxLength: 3 }), (written, damages) => {
      let damaged = written;
      for (const { at, cut, put } of damages) {
        const place = at % (damaged.length + 1);
        damaged = damaged.slice(0, place) + put + damaged.slice(place + cut);
      }
      const plain = parsePlain(damaged);
      expect(plain).toEqual(plain === undefined ? undefined : parsed(damaged));
    }),
    { numRuns: 3_000 },
  );
});

test("parsePlain() leaves a comment in the middle of a value between brackets to the YAML parser", () => {
  expect(parsePlain('{\n  "a": 1 00\n#00\n}')).toBeUndefined();
});

test("parsePlain() reads a usual config", () => {
  const usual = `# a bot\nversion: 1\nbots:\n  momentum:\n    command: [python3, -u, "bot.py"]   # no shell\n    cwd: /opt/momentum\n    env:\n      MODE: 'live'\n    probes:\n      - { kind: heartbeat, timeout: 60s }\n      - kind: http\n        url: http://127.0.0.1:8001/livez\n    restart:\n      jitter: 0.2\n    after:\n    - other\n`;
  expect(parsePlain(usual)).toEqual(parsed(usual));
  expect(parsePlain(usual)).toBeDefined();
});

test("shapeOf() says of a rule that it does not know that the schema must be asked", () => {
  const own = z.strictObject({ a: z.string().refine((each) => each !== "x") });
  expect(shapeOf(own).keys?.["a"]).toEqual({ is: "ask" });
  expect(plainValue(shapeOf(own), { a: "y" })).toBeUndefined();
});

/** Mostly one of what is right, now and then one of what is not. */
const mostly = <T, U>(right: readonly T[], wrong: readonly U[]): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 15, arbitrary: fc.constantFrom(...right) }, { weight: 1, arbitrary: fc.constantFrom(...wrong) });
const spans = mostly(["1s", "30s", "5m"], ["0s", "400d", "x", 5]);
const keys = { exchange: "binanceusdm", apiKeyFile: "k", apiSecretFile: "s" };
const bot = fc.record(
  {
    command: mostly([["true"], ["sh", "-c", "x"]], [[""], [], "true"]),
    env: mostly([{ A: "1" }, {}], [{ "1": "x" }, { INVOCATION_ID: "x" }, { A: 1 }]),
    account: mostly([undefined, "one"], ["", 5]),
    after: mostly([[]], [["a"], ["none"]]),
    ready: mostly(["started", "notify"], ["probe", "x"]),
    startTimeout: spans,
    stopTimeout: spans,
    restart: mostly(
      [{}, { base: "0s", cap: "0s" }, { policy: "never" }, { jitter: 0.5, intensity: 3 }],
      [{ base: "2m" }, { haltExitCodes: [1, 256] }],
    ),
    probes: fc.array(
      mostly(
        [
          { kind: "heartbeat", timeout: "60s" },
          { kind: "http", url: "http://127.0.0.1:8080/health" },
          { kind: "tcp", port: 8080, name: "port" },
          { kind: "file", path: "beat", maxAge: "2m", role: "startup" },
          { kind: "resources", maxRss: "1GiB" },
        ],
        [
          { kind: "http", url: "http://x", method: "HEAD", expectBody: "x" },
          { kind: "exec", command: ["true"], onFailure: "emergency" },
          { kind: "resources" },
          { kind: "nothing" },
          { kind: "heartbeat", more: 1 },
        ],
      ),
      { maxLength: 2 },
    ),
    limits: mostly(
      [{ memory: "512MiB" }, { cpu: "150%", pids: 10 }],
      [{ memory: "1KiB" }, { memory: "1GiB", memoryHigh: "2GiB" }, { onMemoryHigh: "restart" }],
    ),
    output: mostly([{ to: "journal" }, { maxSize: "1MiB", keep: 3 }], [{ maxSize: "1KiB" }]),
    emergency: mostly(
      [keys, { ...keys, endpoint: "http://127.0.0.1:9000", closeAfter: "5m" }],
      [
        { exchange: "okx", apiKeyEnv: "K", apiSecretEnv: "S" },
        { ...keys, exchange: "nowhere" },
      ],
    ),
  },
  { requiredKeys: ["command"] },
);
/** As a config is written: without what is not there. */
const writtenBot = bot.map((each): object => JSON.parse(JSON.stringify(each)));
const target = mostly(
  [
    { kind: "sqlite", path: "bot.db", schedule: "0 2 * * *", jitter: "5m", incremental: "15m" },
    { kind: "sqlite", path: "bot.db", stores: ["local"], checks: [{ kind: "fresh", table: "t", within: "1h" }] },
    { kind: "sqlite", path: "bot.db", checks: [{ kind: "query", name: "n", sql: "SELECT 1", min: 1 }], bots: ["a"] },
    { kind: "redis", url: "redis://127.0.0.1:6379", schedule: "@daily", timezone: "Europe/Berlin" },
    { kind: "postgres", url: "postgres://bot@/ledger?host=/run", pitr: true, rpo: "1h" },
    { kind: "postgres", url: "postgres://h/l", pitr: true, engine: "pgbackrest", pgbackrest: { stanza: "main" } },
    { kind: "files", paths: ["/etc/bot"], schedule: "*/5 9-17 * * 1-5" },
  ],
  [
    { kind: "sqlite", path: "~/bot.db" },
    { kind: "sqlite", path: "bot.db", incremental: "15m" },
    { kind: "sqlite", path: "bot.db", schedule: "0 2 * * *", incremental: "5s" },
    { kind: "sqlite", path: "bot.db", stores: ["none"] },
    { kind: "sqlite", path: "bot.db", schedule: "0 2 30 2 *" },
    { kind: "sqlite", path: "bot.db", schedule: "0 2 * * MON", timezone: "Mars/Base" },
    { kind: "redis", url: "redis://:secret@h" },
    { kind: "postgres", url: "http://x" },
    { kind: "postgres", url: "postgres://h/l", engine: "pgbackrest" },
    { kind: "postgres", url: "postgres://h/l", passwordFile: "f", passwordEnv: "P" },
    { kind: "files", paths: [] },
    { kind: "secrets", paths: ["/etc/keys"] },
  ],
);
const bucket = { kind: "s3", endpoint: "https://s3.example", bucket: "backups" };
const backups = fc.record(
  {
    stores: mostly(
      [
        { local: { kind: "directory", path: "/b" } },
        {
          local: { kind: "directory", path: "/b" },
          offsite: {
            ...bucket,
            accessKeyIdFile: "i",
            secretAccessKeyEnv: "S",
            timeout: "5s",
            retention: { hourly: "1d" },
          },
        },
      ],
      [
        {},
        { offsite: { ...bucket, accessKeyIdFile: "i", secretAccessKeyFile: "s" } },
        { local: { kind: "directory", path: "/b" }, offsite: bucket },
        { Local: { kind: "directory", path: "/b" } },
      ],
    ),
    targets: fc.dictionary(mostly(["state", "conf"], ["a b"]), target, { minKeys: 1, maxKeys: 2 }),
    encryption: mostly([{ recipients: ["age1qqq"], identityFile: "k" }], [{ recipients: [] }, { recipients: ["x"] }]),
    retention: mostly([{}, { daily: "10d", minKeep: 1 }], [{ minKeep: 0 }, { yearly: "1d" }]),
    verify: mostly([{ every: "L2" }, { weekly: "L1" }], [{ every: "L3" }]),
    compress: mostly(["zstd", "gzip"], ["xz"]),
    drill: mostly(
      [{ schedule: "never" }, { schedule: "@weekly", store: "local" }],
      [{ store: "none" }, { schedule: "x" }],
    ),
    objectives: mostly([{ rto: "1h" }], [{ rto: 5 }]),
  },
  { requiredKeys: ["stores", "targets"] },
);
const config = fc.record(
  {
    backups,
    version: mostly([1], [2]),
    stateDir: mostly(["/var/lib/x"], ["~/x", ""]),
    http: mostly([{ listen: "127.0.0.1:8001" }], [{ listen: ":8001" }, { listen: "x" }]),
    bots: fc.dictionary(mostly(["a", "b", "c"], ["B"]), writtenBot, { minKeys: 1, maxKeys: 2 }),
  },
  { requiredKeys: ["version", "bots"] },
);

const SOUND_BOTS = { a: { command: ["true"] } };

test("plainValue() makes of backups what their schema makes of them, or leaves it to that", () => {
  const schema = real(configSchema);
  let taken = 0;
  fc.assert(
    fc.property(backups, (section) => {
      const root = { version: 1, bots: SOUND_BOTS, backups: section };
      const plain = plainValue(PLAIN_TABLE, root);
      if (plain !== undefined) taken += 1;
      expect(plain?.value).toEqual(plain === undefined ? undefined : schema.safeParse(root).data);
    }),
    { numRuns: 500 },
  );
  expect(taken).toBeGreaterThan(20);
});

test.each([
  ["a schedule, as it is usual", { kind: "sqlite", path: "/b.db", schedule: "0 2 * * *", incremental: "15m" }, true],
  ["a schedule in words", { kind: "sqlite", path: "/b.db", schedule: "0 2 * * MON" }, false],
  ["a bot that there is not", { kind: "sqlite", path: "/b.db", bots: ["none"] }, false],
])("loadPlain() of backups with %s: taken is %s", (_, state, taken) => {
  const section = { stores: { local: { kind: "directory", path: "/b" } }, targets: { state } };
  const file = folder.write(
    "backups.yaml",
    JSON.stringify({ version: 1, stateDir: "/s", bots: SOUND_BOTS, backups: section }),
  );
  expect(loadPlain({ file, env: {} }) !== undefined).toBe(taken);
});

test("plainValue() makes of a config what its schema makes of it, or leaves it to that", () => {
  const schema = real(configSchema);
  let taken = 0;
  fc.assert(
    fc.property(config, (root) => {
      const plain = plainValue(PLAIN_TABLE, root);
      const { data } = schema.safeParse(root);
      if (plain !== undefined) taken += 1;
      expect(plain?.value).toEqual(plain === undefined ? undefined : data);
    }),
    { numRuns: 500 },
  );
  // Else the test would say nothing of what is taken.
  expect(taken).toBeGreaterThan(20);
});

test.each([
  ["http://127.0.0.1:45543/health", true],
  ["http://10.0.0.7:80", true],
  ["https://bot-1.example:65535/", true],
  ["http://127.0.0.1:65536/", false],
  ["http://1.2.3.400/", false],
  ["http://127.0.0.1:08/", false],
])("plainValue() of the address %s: taken as it stands is %s", (url, taken) => {
  const root = { version: 1, bots: { a: { command: ["true"], probes: [{ kind: "http", url }] } } };
  const plain = plainValue(PLAIN_TABLE, root);
  expect(plain?.value).toEqual(taken ? real(configSchema).safeParse(root).data : undefined);
});

test("loadPlain() loads what loadConfig() loads", () => {
  const file = folder.write(
    "supervisor.yaml",
    "version: 1\nbots:\n  a:\n    command: [true-program, x]\n    probes:\n      - { kind: file, path: beat, maxAge: 1m, period: 2s }\n",
  );
  const [plain, whole] = [loadPlain({ file, env: {} }), loadConfig({ file, env: {} })];
  expect({ ...plain, issueAt: undefined }).toEqual({ ...whole, issueAt: undefined });
});

test.each([
  ["a mistake", "version: 1\nbots:\n  a:\n    comand: [x]\n"],
  ["a reference", 'version: 1\nbots:\n  a:\n    command: [x, "${HOME}"]\n'],
  [
    "a warning",
    "version: 1\nbots:\n  a:\n    command: [x]\n    probes:\n      - { kind: tcp, host: example.org, port: 1 }\n",
  ],
  ["no bot", "version: 1\nbots: {}\n"],
])("loadPlain() leaves a config with %s to the loader", (_, written) => {
  expect(loadPlain({ file: folder.write("supervisor.yaml", written), env: { HOME: "/" } })).toBeUndefined();
});

test("loadPlain() takes the config that `config init` writes", () => {
  const file = folder.write("supervisor.yaml", starterConfig());
  const whole = loadConfig({ file, env: {} });
  expect({ ...loadPlain({ file, env: {} }), issueAt: undefined }).toEqual({ ...whole, issueAt: undefined });
});
