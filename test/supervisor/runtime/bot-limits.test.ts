/** An adopted bot whose daemon sat in another v1 cgroup than this one: its limits and its kills are looked for where it is. Real cgroups. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { limitsSchema } from "../../../src/core/limits.ts";
import { detectCgroup, removeCgroup } from "../../../src/platform/cgroup.ts";
import { memoryLimit } from "../../../src/platform/cgroup-limits.ts";
import { findControllers } from "../../../src/platform/controllers.ts";
import { BotLimits } from "../../../src/supervisor/runtime/bot-limits.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const controllers = findControllers(detectCgroup());
const memory = controllers.places.memory;
const here = memory?.version === "v1" ? memory.folder : undefined;
const MIB = 1_024 ** 2;

/** A process in the cgroup of a start, made by a daemon that sat elsewhere. */
function rig() {
  const elsewhere = join(here ?? "", `sv-test-${crypto.randomUUID()}`);
  const name = `bot-bot-${crypto.randomUUID().slice(0, 8)}`;
  const start = join(elsewhere, name, "f00d");
  mkdirSync(start, { recursive: true });
  const child = Bun.spawn(["sleep", "600"]);
  writeFileSync(join(start, "cgroup.procs"), String(child.pid), { flag: "r+" });
  const said: string[] = [];
  const limitsOf = (text: object | undefined): BotLimits =>
    new BotLimits({
      limits: text === undefined ? undefined : limitsSchema.parse(text),
      controllers: text === undefined ? undefined : controllers,
      user: undefined,
      cgroupName: name,
      clock: new FakeClock(),
      fact: (_level, each) => void said.push(each),
    });
  const living = { pid: child.pid, pids: () => [child.pid] };
  const end = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return {
    start,
    said,
    limitsOf,
    adopted: { invocationId: "f00d", cgroup: undefined, living },
    own: join(here ?? "", name),
    end,
    async [Symbol.asyncDispose]() {
      await end();
      removeCgroup(elsewhere);
    },
  };
}

test.skipIf(here === undefined)(
  "BotLimits sets the limits of an adopted bot in the cgroup in which it is, and takes that away with it",
  async () => {
    await using made = rig();
    const limits = made.limitsOf({ memory: "96MiB" });
    limits.adopt(made.adopted);
    expect(memoryLimit("v1", made.start)).toBe(96 * MIB);
    expect([limits.memoryBytes, limits.unmet, made.said]).toEqual([96 * MIB, [], []]);
    expect(limits.usedBytes).toBeGreaterThanOrEqual(0);
    expect(existsSync(made.own)).toBe(false);
    await made.end();
    limits.settle();
    expect(existsSync(join(made.start, ".."))).toBe(false);
    expect(limits.memoryBytes).toBeNull();
  },
);

test.skipIf(here === undefined)(
  "BotLimits takes away what the config does not limit any more, also where nothing else is limited",
  async () => {
    await using made = rig();
    writeFileSync(join(made.start, "memory.limit_in_bytes"), String(64 * MIB), { flag: "r+" });
    const limits = made.limitsOf(undefined);
    limits.adopt(made.adopted);
    expect(memoryLimit("v1", made.start)).toBeUndefined();
    expect([limits.memoryBytes, limits.unmet]).toEqual([null, []]);
  },
);

test.skipIf(here === undefined)(
  "BotLimits says which limit does not hold when the bot cannot be moved into its cgroup",
  async () => {
    await using made = rig();
    const limits = made.limitsOf({ pids: 20, strict: true });
    // Above every pid that the kernel gives: a tree that has another process at each look.
    let next = 4_194_304;
    limits.adopt({ ...made.adopted, living: { ...made.adopted.living, pids: () => [(next += 1)] } });
    expect(limits.unmet).toEqual(["pids"]);
    limits.settle();
    expect(made.said.join()).toMatch(
      /^limits\.pids does not hold before the next start: .*; limits\.strict ends no bot that runs$/,
    );
  },
);
