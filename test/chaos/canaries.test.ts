/** Planted secrets of each kind are nowhere that somebody could look: not in dumps, journal, logs and records, and not in what is seen of any worker. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { missing as noPostgres, PgServer } from "../actions/backup/postgres-rig.ts";
import { missing as noRedis, PASSWORD as REDIS_PASSWORD, RedisRig } from "../actions/backup/redis-rig.ts";
import { contentOf, dumpsOf, ROOMY, unpacks } from "./dumps.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { WorkerSight } from "./sight.ts";

const PATIENCE_MS = 180_000;
const missing = unpacks ? (noPostgres ?? noRedis) : "zstd";

/** By what they are. */
const planted = {
  token: "canary-4f1d8c2b9e",
  apiKey: "canary-key-77aa11bb",
  apiSecret: "canary-secret-90cc42dd",
  webPassword: "canary-web-31fe77aa",
  postgres: "canary:pg\\5d-20c4",
  redis: REDIS_PASSWORD,
};

/** Each place of the list that holds a canary, as it is or as it stands in JSON. */
function hitsIn(places: Readonly<Record<string, string>>, canaries: Readonly<Record<string, string>>): string[] {
  return Object.entries(places).flatMap(([place, text]) =>
    Object.entries(canaries).flatMap(([name, canary]) =>
      text.includes(canary) || text.includes(JSON.stringify(canary).slice(1, -1)) ? [`${name} in ${place}`] : [],
    ),
  );
}

/** Every file of the supervisor's own folder by its path, the bot's output and the ends of it that are kept left out: what a bot says is the bot's. */
function filesIn(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => !/^log\/bot|\/exits\//.test(name) && statSync(join(folder, name)).isFile());
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(folder, name), "latin1")]));
}

/** Has each kind of worker run until it was seen; at last the positions are closed. */
async function useEachWorker(rig: Rig, sight: WorkerSight): Promise<void> {
  const done = async (...words: string[]): Promise<void> => {
    const { code, err } = await rig.cli(...words);
    expect({ words, code, err }).toEqual({ words, code: 0, err: expect.any(String) });
  };
  /** The programs live for some milliseconds: what was missed is done again. */
  const seeing = (word: string, ...words: string[]): Promise<true> =>
    until(`${word} is seen`, async () => (await done(...words), sight.saw(word)), 60_000);
  await rig.run();
  await rig.botIn("running");
  await seeing("preflight", "emergency", "preflight", "bot");
  await until("the account is watched", () => sight.saw("watch-account"), 60_000);
  await seeing("__action backup", "backup", "run");
  await seeing("pg_dump", "backup", "run", "ledger");
  await seeing("pg_basebackup", "backup", "run", "ledger");
  await seeing("redis-cli", "backup", "run", "cache");
  await until("WAL is archived", () => sight.saw("pg_receivewal"), 60_000);
  await seeing("verify-backups", "backup", "verify");
  await seeing("pg_restore", "restore", "ledger", "--yes");
  await seeing("drill", "drill", "state");
  await seeing("pack-dump", "dump", "now", "bot");
  await seeing("capture-dump", "dump", "now", "bot");
  await done("emergency", "close", "bot", "--yes");
  await rig.botIn("locked");
  expect(sight.saw("close-positions")).toBe(true);
}

test.skipIf(missing !== undefined)(
  `no secret is in a dump, the journal, the log, the records, or what can be seen of any worker${missing === undefined ? "" : ` (skipped: no ${missing})`}`,
  { timeout: PATIENCE_MS },
  async () => {
    await using paper = await startPaper({ credentials: { apiKey: planted.apiKey, apiSecret: planted.apiSecret } });
    await using postgres = new PgServer();
    await using redis = new RedisRig();
    await postgres.start();
    postgres.sql("postgres", `CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '${planted.postgres}'`);
    const database = postgres.makeDatabase(2_000);
    // Whose folder it does not know: then redis-cli fetches the dump.
    const server = await redis.start("--requirepass", planted.redis, "--rename-command", "CONFIG", "");
    await server.command("SET", "key", "value");
    server.close();
    const identity = await generateIdentity();
    const canaries = { ...planted, identity };
    await using rig = new Rig({ env: { CANARY_SECRET: planted.apiSecret } });
    const secrets = {
      "canary.key": planted.apiKey,
      web: planted.webPassword,
      pg: planted.postgres,
      redis: planted.redis,
      id: identity,
    };
    for (const [name, text] of Object.entries(secrets)) rig.write(name, text);
    rig.write("bot.sh", 'echo "$API_TOKEN"; exec sleep 600');
    using state = new Database(rig.path("bot.db"));
    state.exec("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1)");
    const { apiSecretFile: _, ...keys }: Record<string, unknown> = { ...emergencyAt(paper.url) };
    const limits = { maxExposure: 1_000_000_000, period: "5s" };
    const emergency = { ...keys, apiKeyFile: "canary.key", apiSecretEnv: "CANARY_SECRET", limits };
    const local = { kind: "directory", path: "store" };
    const targets = {
      state: { kind: "sqlite", path: "bot.db" },
      ledger: { kind: "postgres", url: postgres.url(database, "keeper"), passwordFile: "pg", pitr: true },
      cache: { kind: "redis", url: `redis+unix://${redis.socket}`, passwordFile: "redis" },
    };
    const encryption = { recipients: [await identityToRecipient(identity)], identityFile: "id" };
    rig.configure(
      { bot: { command: ["sh", "bot.sh"], env: { API_TOKEN: planted.token }, dump: ROOMY, emergency } },
      {
        http: { listen: "127.0.0.1:0", auth: { username: "ops", passwordFile: "web" } },
        backups: { stores: { local }, targets, encryption },
      },
    );
    const sight = new WorkerSight(rig.binary);
    try {
      await useEachWorker(rig, sight);
    } finally {
      await sight[Symbol.asyncDispose]();
    }
    const dumped = Object.fromEntries(dumpsOf(rig).map((name) => [name, contentOf(rig, name)]));
    const said = (await Promise.all([rig.cli("events"), rig.cli("status", "--json")])).map(({ out }) => out).join("");
    const records = filesIn(rig.state(""));
    expect(Object.keys(records)).toEqual(expect.arrayContaining([expect.stringContaining("incidents/")]));
    expect(
      hitsIn({ ...records, ...dumped, said, log: rig.read("daemon.err"), workers: sight.texts.join("\n") }, canaries),
    ).toEqual([]);
  },
);
