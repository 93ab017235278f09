/** On a machine with cgroup v2 alone: what the kernel enforces there, how its kills are told, and a real suspend. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Status } from "../../src/core/status.ts";
import { unbootableVm } from "./bootable.ts";
import { UNIT } from "./box.ts";
import { NoAnswerError, Vm } from "./vm.ts";

/** What an emulated processor takes for what takes a real one seconds, ms. */
const TIMEOUT = { timeout: 600_000 };
/** Longer than any timeout of a probe below, ms. */
const SLEPT_MS = 25_000;
/** The same, s: after a step that a probe takes for silence it has failed by then. */
const JUDGED_SECONDS = 10;
const CGROUP = `/sys/fs/cgroup/system.slice/${UNIT}`;

const shell = (text: string): string[] => ["sh", "-c", text];
/** One death of each is looked at; an emulated machine has no time for more. */
const once = { base: "1h", cap: "1h" };

const limited = {
  hog: { command: shell("cat /proc/self/cgroup; exec tail /dev/zero"), restart: once, limits: { memory: "48MiB" } },
  parent: { command: shell("tail /dev/zero; exec sleep 6000"), restart: once, limits: { memory: "48MiB" } },
  soft: {
    command: shell("(head -c 80000000 /dev/zero; exec sleep 6000) | tail -c 80000000 > /dev/null"),
    limits: { memory: "256MiB", memoryHigh: "64MiB" },
  },
  bomb: { command: shell("while :; do sleep 6000 & done"), restart: once, limits: { pids: 20 } },
  busy: { command: shell("while :; do :; done"), limits: { cpu: "10%" } },
  killed: { command: ["sleep", "6000"], limits: { memory: "48MiB" } },
};

const sleepers = {
  beating: { command: ["/opt/bot.sh"], ready: "notify", probes: [{ kind: "heartbeat", timeout: "8s" }] },
  writing: {
    command: shell("while :; do touch beat; sleep 0.5; done"),
    probes: [{ kind: "file", path: "/opt/writing/beat", maxAge: "8s", period: "1s", timeout: "500ms" }],
  },
  // Its probe's command is asleep with the machine, most of the time.
  asked: {
    command: ["sleep", "6000"],
    probes: [{ kind: "exec", command: ["sleep", "4"], period: "20s", timeout: "15s", failureThreshold: 1 }],
  },
};

/** Longest start of the unit in the machine, s: it takes 10. */
const START_SECONDS = 120;

/** A machine in which the unit runs with these bots. */
async function boot(bots: Readonly<Record<string, object>>): Promise<Vm> {
  const each = Object.entries(bots).map(([name, bot]) => [
    name,
    { cwd: `/opt/${name}`, user: "nobody", stopTimeout: "5s", ...bot },
  ]);
  const vm = await Vm.boot({
    version: 1,
    stateDir: "/var/lib/tradingbot",
    runtimeDir: "/run/tradingbot",
    logDir: "/var/log/tradingbot",
    bots: Object.fromEntries(each),
  });
  const folders = Object.keys(bots).map((name) => `/opt/${name}`);
  try {
    await vm.do(`mkdir -m 0777 ${folders.join(" ")}`);
    // Asked again and again and not waited for: a start that hangs is told from a machine that does.
    const wait = `end=$((SECONDS + ${START_SECONDS})); while ((SECONDS < end)); do systemctl is-active --quiet ${UNIT} && exit 0; sleep 1; done`;
    const { code, out, err } = await vm.exec(
      `systemctl start --no-block ${UNIT}; ${wait}; systemctl status ${UNIT}; exit 1`,
    );
    if (code === 0) return vm;
    throw new Error(`${out}${err}\n${await vm.log()}`);
  } catch (error) {
    await vm[Symbol.asyncDispose]();
    throw error;
  }
}

/** `boot`, and once more where the emulated machine itself stands still: seen once in some twenty boots on a busy host. */
async function start(bots: Readonly<Record<string, object>>): Promise<Vm> {
  try {
    return await boot(bots);
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error;
    process.stderr.write(`the machine is booted again: ${error.message}\n`);
    return boot(bots);
  }
}

const processes = (status: Status | undefined): object => ({
  daemon: status?.supervisor.pid,
  bots: status?.bots.map(({ name, pid, generation, restarts: { total } }) => ({ name, pid, generation, total })),
});

const uptime = (status: Status | undefined): number => status?.supervisor.uptimeSeconds ?? 0;

type Machine = NonNullable<Status["supervisor"]["machine"]>;

const skipped = unbootableVm === undefined ? "" : ` (${unbootableVm})`;

describe.skipIf(unbootableVm !== undefined)(`limits where cgroup v2 is alone${skipped}`, () => {
  let vm: Vm;
  let daemon: string;
  const mainPid = (): Promise<string> => vm.do(`systemctl show --property MainPID --value ${UNIT}`);
  /** A file of the cgroup of the bot's start that runs. */
  const cgroupFile = (bot: string, file: string): Promise<string> =>
    vm.do(
      `for at in ${CGROUP}/bot-${bot}-*/*/; do if [ -n "$(cat $at/cgroup.procs)" ]; then cat $at/${file}; exit; fi; done; exit 1`,
    );

  beforeAll(async () => {
    vm = await start(limited);
    daemon = await mainPid();
    return () => vm[Symbol.asyncDispose]();
  }, TIMEOUT.timeout);

  test("a hog is killed in the cgroup that it was started in, and its exit says oom", TIMEOUT, async () => {
    const hog = await vm.botUntil("it died of memory", "hog", ({ state }) => state === "backoff");
    expect(hog.lastExit).toMatchObject({ cause: "oom", signal: "SIGKILL", detail: "killed for want of memory" });
    expect((await vm.supervisor("logs hog")).out).toMatch(
      new RegExp(`^0::/system\\.slice/${UNIT}/bot-hog-\\w+/\\w{32}$`, "m"),
    );
  });

  test("a hog among the bot's children takes the whole bot with it", TIMEOUT, async () => {
    const parent = await vm.botUntil("it died of memory", "parent", ({ state }) => state === "backoff");
    expect(parent.lastExit).toMatchObject({ cause: "oom", signal: "SIGKILL" });
  });

  test("any other SIGKILL is a signal", TIMEOUT, async () => {
    const { pid } = await vm.botUntil("it runs", "killed", ({ state }) => state === "running");
    expect(await cgroupFile("killed", "memory.max")).toBe(String(48 * 1_024 ** 2));
    await vm.do(`kill -9 ${pid}`);
    const next = await vm.botUntil("its death was seen", "killed", ({ lastExit }) => lastExit !== null);
    expect(next.lastExit).toMatchObject({ cause: "signal", signal: "SIGKILL" });
  });

  test("a bot above memoryHigh is slowed down by the kernel and told to degrade", TIMEOUT, async () => {
    const soft = await vm.botUntil("it is degraded", "soft", ({ level }) => level === "degraded");
    expect(soft).toMatchObject({ state: "running", generation: 1, resources: { memoryLimitBytes: 256 * 1_024 ** 2 } });
    expect(await cgroupFile("soft", "memory.high")).toBe(String(64 * 1_024 ** 2));
    expect(await cgroupFile("soft", "memory.events")).toMatch(/^high [1-9]/m);
  });

  test("a fork bomb is refused by the kernel and ended whole; a busy bot waits for its turn", TIMEOUT, async () => {
    const bomb = await vm.botUntil("it could not fork", "bomb", ({ state }) => state === "backoff");
    expect(bomb.lastExit).toMatchObject({ cause: "exited" });
    expect((await vm.exec(`cat ${CGROUP}/bot-bomb-*/*/cgroup.procs`)).out).toBe("");
    expect(await cgroupFile("busy", "cpu.stat")).toMatch(/^nr_throttled [1-9]/m);
  });

  test("the daemon has a larger share of the processor than its bots, and outlived them all", TIMEOUT, async () => {
    expect(await vm.do(`cat ${CGROUP}/tradingbot-supervisor/cpu.weight`)).toBe("10000");
    expect(await cgroupFile("busy", "cpu.weight")).toBe("100");
    expect(await mainPid()).toBe(daemon);
  });

  test("doctor and config check say that this machine enforces all of it", TIMEOUT, async () => {
    const { out } = await vm.supervisor("doctor");
    expect(out).toContain(`pid ${daemon} answers`);
    expect(out).toContain("enforced by the kernel: memory (v2), cpu (v2), pids (v2)");
    expect(await vm.supervisor("config check")).toMatchObject({ code: 0, err: "" });
  });

  test("a daemon that is killed is started beside its bots, adopts them, and limits them anew", TIMEOUT, async () => {
    const before = await vm.botUntil("it runs", "killed", ({ state }) => state === "running");
    await vm.do(`kill -9 ${daemon}`);
    const after = await vm.botUntil("it is adopted", "killed", ({ adopted }) => adopted);
    expect(after).toMatchObject({ pid: before.pid, generation: before.generation });
    expect(await mainPid()).not.toBe(daemon);
    expect(await cgroupFile("killed", "memory.max")).toBe(String(48 * 1_024 ** 2));
    expect(await vm.do(`systemctl show --property NRestarts --value ${UNIT}`)).toBe("1");
    await vm.do(`systemctl stop ${UNIT}`);
    expect(await vm.exec("grep -ls ^sleep /proc/[0-9]*/cmdline")).toMatchObject({ out: "" });
  });
});

describe.skipIf(unbootableVm !== undefined)(`a suspended machine, and one whose clock is set${skipped}`, () => {
  let vm: Vm;
  beforeAll(async () => {
    vm = await start(sleepers);
    for (const name of Object.keys(sleepers))
      await vm.botUntil(`${name} is healthy`, name, ({ health }) => health === "healthy");
    return () => vm[Symbol.asyncDispose]();
  }, TIMEOUT.timeout);

  /** The status once the machine has met with something and all are judged anew, so many seconds later. */
  const settled = (what: string, met: (machine: Machine) => boolean, seconds = 0): Promise<Status> => {
    let metAt: number | undefined;
    return vm.until(`${what} was noticed, and all are judged anew`, async () => {
      const status = await vm.status();
      const machine = status?.supervisor.machine;
      if (machine !== undefined && met(machine)) metAt ??= uptime(status);
      const over = metAt !== undefined && uptime(status) >= metAt + seconds && machine?.disturbed === null;
      return over && status?.bots.every(({ health }) => health === "healthy") ? status : undefined;
    });
  };

  test("its sleep restarts no bot, and nobody's watchdog fires", TIMEOUT, async () => {
    const before = await vm.status();
    await vm.suspend(SLEPT_MS);
    const after = await settled("the sleep", ({ suspends }) => suspends === 1);
    expect(processes(after)).toEqual(processes(before));
    expect(await vm.log()).toMatch(/slept for \d+\.\d s/);
  });

  test("its clock, set forward and back by an hour, fails no probe and restarts no bot", TIMEOUT, async () => {
    const before = await vm.status();
    const steps = before?.supervisor.machine?.clockSteps ?? Number.NaN;
    for (const [n, [by, seconds]] of Object.entries({ forward: 3_600, back: -3_600 }).entries()) {
      await vm.do(`date -s "@$(($(date +%s) + ${seconds}))"`);
      const after = await settled(`the step ${by}`, ({ clockSteps }) => clockSteps === steps + n + 1, JUDGED_SECONDS);
      expect(await vm.log()).toMatch(new RegExp(`the wall clock was set ${by} by (3600|3599\\.\\d|3600\\.\\d) s`));
      expect(processes(after)).toEqual(processes(before));
      expect(after.bots.flatMap(({ probes }) => probes.map(({ failures }) => failures))).toEqual(
        after.bots.flatMap(({ probes }) => probes.map(() => 0)),
      );
    }
    expect(await vm.log()).not.toMatch(/unhealthy/);
  });
});
