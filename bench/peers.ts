/** Ours beside s6, runit, monit, supervisord, pm2 and a bare loop, in turns in one run: restart, start, last of many, status, stop, memory. */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./measure.ts";
import { bareLoop, debianVersion, KILL_SECONDS, otherPeers, ours, type Peer } from "./peer-list.ts";
import { treePssMib } from "./tree-memory.ts";
import { endChild, ENV, withRig, type Child, type Options, type Rig } from "./rig.ts";

/** s6 and runit start at once only what has lived for a second. */
const LIVED_MS = 1_200;
const MANY = 100;
/** Longest wait for a child, ms, and the time between two looks. */
const PATIENCE_MS = 20_000;
const POLL_MS = 0.05;
const STATUS_ROUNDS = 21;
/** Time after the last start until a supervisor is weighed, s. */
const SETTLE_S = 10;

/** What the project promises, ms; a restart as a multiple of the bare loop's, and the start of a hundred of s6's: 150 ms where that takes 100. */
const TARGETS = { restartRatio: 1.6, first: 40, lastRatio: 1.5, status: 12, statusMany: 20, stop: 10 };

interface Programs {
  readonly child: string;
  readonly peers: readonly Peer[];
}

export async function benchPeers(rig: Rig, options: Options): Promise<readonly Row[]> {
  const child = compileC(rig, "peer-child.c");
  const loops = [bareLoop("C", compileC(rig, "peer-loop.c")), bareLoop("Bun", rig.compile("peer-loop.ts"))];
  const all = [...loops, ours(options.supervisor), ...otherPeers()];
  const peers = all.filter((peer) => {
    const missing = peer.missing();
    const version = peer.name === "supervisor" ? "" : debianVersion(peer.name);
    console.log(missing === undefined ? `measured: ${peer.name} ${version}` : `left out: ${missing}`);
    return missing === undefined;
  });
  const programs = { child, peers };
  const rounds = options.quick ? 3 : 31;
  return [
    ...(await benchRestarts(programs, rounds)),
    ...(await benchStarts(programs, 1, options.quick ? 2 : 11)),
    ...(await benchStarts(programs, MANY, options.quick ? 1 : 5)),
    ...(await benchStatus(programs, 1)),
    ...(await benchStatus(programs, MANY)),
    ...(await benchStops(programs, [], options.quick ? 2 : 9)),
    ...(await benchStops(programs, ["--deaf"], options.quick ? 1 : 5)),
    ...(await benchMemory(programs, 1, options.quick)),
    ...(await benchMemory(programs, MANY, options.quick)),
  ];
}

/** A program of this folder in C. */
function compileC(rig: Rig, file: string): string {
  // Not under its bare name: there is a program in TypeScript of the same one.
  const output = join(rig.folder, file.replace(/\.c$/, "-c"));
  const built = Bun.spawnSync(["cc", "-O2", "-o", output, join(import.meta.dirname, file)]);
  if (built.exitCode !== 0) throw new Error(`cannot compile ${file}: ${built.stderr.toString().trim()}`);
  return output;
}

/** It may end between the look and the signal. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** A running supervisor and its children. */
class Site {
  readonly folder: string;
  readonly startedAtMs: number;
  readonly process: Child;
  readonly #fd: number;
  readonly #peer: Peer;
  readonly #names: readonly string[];
  #text = "";

  constructor(rig: Rig, peer: Peer, child: string, count: number, more: readonly string[] = []) {
    this.folder = rig.folderFor(peer.name.replaceAll(" ", "-"));
    this.#peer = peer;
    this.#names = Array.from({ length: count }, (_, i) => `c${String(i).padStart(3, "0")}`);
    const fifo = join(this.folder, "births");
    Bun.spawnSync(["mkfifo", fifo]);
    this.#fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const members = this.#names.map((name) => {
      const options = peer.childOptions?.(this.folder, name) ?? [];
      return { name, argv: [child, fifo, ...options, ...more] };
    });
    this.startedAtMs = performance.now();
    this.process = peer.start(rig, this.folder, members);
  }

  get status(): readonly string[] | undefined {
    return this.#peer.status?.(
      this.folder,
      this.#names.map((name) => ({ name, argv: [] })),
    );
  }

  stop(): readonly string[] | undefined {
    return this.#peer.stop?.(this.folder, "c000");
  }

  /** Pid of the next child that starts. */
  next(): number {
    const giveUpAtMs = performance.now() + PATIENCE_MS;
    const bytes = Buffer.alloc(65_536);
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const pid = Number(this.#text.slice(0, end));
        this.#text = this.#text.slice(end + 1);
        return pid;
      }
      const read = this.#read(bytes);
      this.#text += bytes.toString("latin1", 0, read);
      if (performance.now() > giveUpAtMs) throw new Error(`cannot go on: no child of ${this.#peer.name} started`);
      if (read === 0) pause();
    }
  }

  /** Ends the supervisor and what it leaves of `pids`. */
  async end(pids: readonly number[]): Promise<void> {
    if (this.#peer.endSignal !== undefined) this.process.kill(this.#peer.endSignal);
    await endChild(this.process);
    for (const pid of pids) if (isOurs(pid, this.folder)) killIfThere(pid);
    closeSync(this.#fd);
  }

  #read(bytes: Buffer): number {
    try {
      return readSync(this.#fd, bytes);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
      throw error;
    }
  }
}

/** Whether the process is a child of this benchmark, and not somebody who got its pid. */
function isOurs(pid: number, folder: string): boolean {
  const { stdout } = Bun.spawnSync(["cat", `/proc/${pid}/cmdline`], { stderr: "ignore" });
  return stdout.toString().includes(folder);
}

async function benchRestarts({ child, peers }: Programs, rounds: number): Promise<readonly Row[]> {
  return await withRig(async (rig) => {
    const sites = peers.map((peer) => ({
      peer,
      site: new Site(rig, peer, child, 1),
      pid: 0,
      times: new Array<number>(),
    }));
    for (const each of sites) each.pid = each.site.next();
    // The first round pays for what only the first restart needs.
    for (let round = 0; round <= rounds; round += 1) {
      await Bun.sleep(LIVED_MS);
      // The first of a round finds the processors cold: each is it in turn.
      for (const each of [...sites.slice(round % sites.length), ...sites.slice(0, round % sites.length)]) {
        const startMs = performance.now();
        process.kill(each.pid, "SIGKILL");
        each.pid = each.site.next();
        if (round > 0) each.times.push(performance.now() - startMs);
      }
    }
    for (const { site, pid } of sites) await site.end([pid]);
    const floor = sites[0]?.times ?? [];
    return sites.map(({ peer, times }) => ({
      what: `restart after SIGKILL: ${peer.name}`,
      unit: "ms",
      values: times,
      baseline: { name: "bare C loop", values: floor },
      paired: true,
      ...(peer.name === "supervisor" ? { targetRatio: TARGETS.restartRatio } : {}),
    }));
  });
}

async function benchStarts({ child, peers }: Programs, count: number, rounds: number): Promise<readonly Row[]> {
  const rows = peers
    .filter((peer) => peer.status !== undefined)
    .map((peer) => ({ peer, first: new Array<number>(), last: new Array<number>() }));
  for (let round = 0; round < rounds; round += 1) {
    for (const { peer, first, last } of rows) {
      await withRig(async (rig) => {
        const site = new Site(rig, peer, child, count);
        const pids = [site.next()];
        first.push(performance.now() - site.startedAtMs);
        while (pids.length < count) pids.push(site.next());
        last.push(performance.now() - site.startedAtMs);
        await site.end(pids);
      });
    }
  }
  if (count === 1)
    return rows.map(({ peer, first }) => ({
      what: `start to the first child: ${peer.name}`,
      unit: "ms",
      values: first,
      ...(peer.name === "supervisor" ? { target: TARGETS.first } : {}),
    }));
  const beside = rows.find(({ peer }) => peer.name === "s6");
  return rows.map(({ peer, last }) => ({
    what: `start to the last of ${count}: ${peer.name}`,
    unit: "ms",
    values: last,
    ...(beside === undefined ? {} : { baseline: { name: beside.peer.name, values: beside.last }, paired: true }),
    ...(peer.name === "supervisor" ? { targetRatio: TARGETS.lastRatio } : {}),
  }));
}

async function benchStatus({ child, peers }: Programs, count: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const peer of peers) {
    if (peer.status === undefined) continue;
    await withRig(async (rig) => {
      const site = new Site(rig, peer, child, count);
      const pids = Array.from({ length: count }, () => site.next());
      await Bun.sleep(LIVED_MS);
      const command = [...(site.status ?? [])];
      const values: number[] = [];
      for (let round = 0; round <= STATUS_ROUNDS; round += 1) {
        const startMs = performance.now();
        Bun.spawnSync(command, { env: ENV, stdout: "ignore", stderr: "ignore" });
        if (round > 0) values.push(performance.now() - startMs);
      }
      await site.end(pids);
      const target = count === 1 ? TARGETS.status : TARGETS.statusMany;
      rows.push({
        what: count === 1 ? `\`status\`: ${peer.name}` : `\`status\` of ${count}: ${peer.name}`,
        unit: "ms",
        values,
        ...(peer.name === "supervisor" ? { target } : {}),
      });
    });
  }
  return rows;
}

/** From the start of the stop command to the death of the child; of a deaf one from its SIGTERM on, less the time that it is given from there. */
async function benchStops(
  { child, peers }: Programs,
  more: readonly string[],
  rounds: number,
): Promise<readonly Row[]> {
  const deaf = more.length > 0;
  const rows: Row[] = [];
  for (const peer of peers) {
    if (peer.stop === undefined) continue;
    const values: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await withRig(async (rig) => {
        const site = new Site(rig, peer, child, 1, more);
        const pid = site.next();
        await Bun.sleep(LIVED_MS);
        let startMs = performance.now();
        const command = rig.spawn([...(site.stop() ?? [])]);
        if (deaf) {
          // It tells of the signal.
          site.next();
          startMs = performance.now();
        }
        untilGone(pid, site.folder);
        values.push(performance.now() - startMs - (deaf ? KILL_SECONDS * 1_000 : 0));
        await command.exited;
        await site.end([pid]);
      });
    }
    const what = deaf ? `stop of a deaf child, beyond its ${KILL_SECONDS} s` : "stop of a willing child";
    const target = peer.name === "supervisor" ? { target: TARGETS.stop } : {};
    rows.push({ what: `${what}: ${peer.name}`, unit: "ms", values, ...target });
  }
  return rows;
}

/** Of the supervisor and its helpers, without the children. */
async function benchMemory({ child, peers }: Programs, count: number, quick: boolean): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const peer of peers) {
    // The bare loop has one child.
    if (count > 1 && peer.status === undefined) continue;
    await withRig(async (rig) => {
      const site = new Site(rig, peer, child, count);
      const pids = Array.from({ length: count }, () => site.next());
      await Bun.sleep((quick ? 1 : SETTLE_S) * 1_000);
      const what = `memory of the supervising processes, ${count === 1 ? "one child" : `${count} children`}: ${peer.name}`;
      rows.push({ what, unit: "MiB", values: [treePssMib(site.process.pid, child)] });
      await site.end(pids);
    });
  }
  return rows;
}

function untilGone(pid: number, what: string): void {
  const giveUpAtMs = performance.now() + PATIENCE_MS;
  while (isRunning(pid)) {
    if (performance.now() > giveUpAtMs) throw new Error(`cannot go on: the child in ${what} did not end`);
    pause();
  }
}

/** Not a timer, since the event loop would add its own delay to the measurement; and not a busy wait, which takes a core from what is measured. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
}

/** A zombie does not run. */
function isRunning(pid: number): boolean {
  try {
    const fd = openSync(`/proc/${pid}/stat`, constants.O_RDONLY);
    const bytes = Buffer.alloc(512);
    const text = bytes.toString("latin1", 0, readSync(fd, bytes));
    closeSync(fd);
    return !text.includes(") Z ");
  } catch {
    return false;
  }
}
