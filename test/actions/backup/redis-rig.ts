/** A real Redis server on a socket of its own in a scratch folder. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RedisConnection } from "../../../src/platform/redis.ts";
import { saying } from "./saying.ts";
import { Rig } from "./rig.ts";
import type { JobTarget } from "../../../src/core/backup-job.ts";

/** Why the tests that need a server are skipped; `undefined`: they are not. */
export const missing = ["redis-server", "redis-cli", "redis-check-rdb"].find((name) => Bun.which(name) === null);

export const PASSWORD = "p@ss/ word";
/** On a socket alone, and with a port; in the words of its log (server.c). */
const READY = /The server is now ready to accept connections/;

export class RedisRig extends Rig {
  readonly data = join(this.folder, "data");
  readonly #socketFolder = mkdtempSync(join(tmpdir(), "redis-"));
  #server: Bun.Subprocess | undefined;

  get socket(): string {
    return join(this.#socketFolder, "s");
  }

  get redis(): JobTarget {
    return { kind: "redis", name: "cache", url: `redis+unix://${this.socket}` };
  }

  async start(...settings: readonly string[]): Promise<RedisConnection> {
    mkdirSync(this.data, { recursive: true });
    const own = ["--port", "0", "--unixsocket", this.socket, "--dir", this.data, "--save", ""];
    // The folder is root's, and so is the server.
    const server = Bun.spawn(["redis-server", ...own, ...settings], { stdio: ["ignore", "pipe", "ignore"] });
    this.#server = server;
    await saying(server.stdout, READY);
    return this.connect(settings.includes("--requirepass") ? PASSWORD : undefined);
  }

  connect(password?: string): Promise<RedisConnection> {
    return RedisConnection.open({ username: undefined, at: { kind: "unix", path: this.socket } }, password);
  }

  async stop(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#socketFolder, { recursive: true, force: true });
    this[Symbol.dispose]();
  }
}

/** Two keys more than `keys` in database 0, one in database 3. */
export async function fillRedis(server: RedisConnection, keys = 500): Promise<void> {
  for (let n = 0; n < keys; n += 1) await server.command("SET", `key:${n}`, "x".repeat(50));
  await server.command("HSET", "hash", "a", "1", "b", "2");
  await server.command("XADD", "stream", "*", "price", "1");
  await server.command("SELECT", "3");
  await server.command("SET", "later", "over", "EX", "1000");
  await server.command("SELECT", "0");
}
