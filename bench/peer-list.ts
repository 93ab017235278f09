/** The supervisors that ours is measured beside, each as its own manual sets it up: the fastest restart it allows, one folder, nothing of the machine's own. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ENV, type Child, type Rig } from "./rig.ts";

/** Time that a stopped child has before it is killed, s. */
export const KILL_SECONDS = 1;

/** One supervised program. */
export interface Member {
  readonly name: string;
  readonly argv: readonly string[];
}

export interface Peer {
  readonly name: string;
  /** What is needed and not there; `undefined` when it can be measured. */
  readonly missing: () => string | undefined;
  /** Further arguments of the child, below `folder`. */
  readonly childOptions?: (folder: string, name: string) => readonly string[];
  /** Starts the supervisor of `members` in `folder`. */
  readonly start: (rig: Rig, folder: string, members: readonly Member[]) => Child;
  readonly status?: (folder: string, members: readonly Member[]) => readonly string[];
  readonly stop?: (folder: string, name: string) => readonly string[];
  /** Signal that ends the supervisor with its children. */
  readonly endSignal?: "SIGTERM" | "SIGHUP";
}

const needs = (program: string) => (): string | undefined =>
  Bun.which(program, { PATH: `${ENV["PATH"]}:/usr/sbin:/sbin` }) === null ? `${program} is not installed` : undefined;

const write = (path: string, text: string, mode = 0o644): string => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};

const writeRuns = (folder: string, members: readonly Member[], more: Readonly<Record<string, string>>): void => {
  for (const { name, argv } of members) {
    write(join(folder, "scan", name, "run"), `#!/bin/sh\nexec ${argv.join(" ")}\n`, 0o755);
    for (const [file, text] of Object.entries(more)) write(join(folder, "scan", name, file), text);
  }
};

/** Ours: journal, fence, probes and cgroups on, as always; no delay, no limit of restarts. */
export function ours(supervisor: string, restart: object = { base: "0s", cap: "0s", jitter: 0, period: "0s" }): Peer {
  const ask = (folder: string, ...words: string[]): readonly string[] => [
    supervisor,
    ...words,
    "--config",
    join(folder, "supervisor.yaml"),
  ];
  return {
    name: "supervisor",
    missing: () => undefined,
    start(rig, folder, members) {
      const probes = [{ kind: "heartbeat", timeout: "60s" }];
      // A copy for each: of a shared object the text would have aliases, which few people write.
      const bots = members.map(({ name, argv }) => [
        name,
        { command: argv, stopTimeout: `${KILL_SECONDS}s`, ...structuredClone({ restart, probes }) },
      ]);
      // As people write it: YAML that names its folder.
      const config = { version: 1, stateDir: join(folder, "state"), bots: Object.fromEntries(bots) };
      write(join(folder, "supervisor.yaml"), Bun.YAML.stringify(config, undefined, 2));
      return rig.spawn([...ask(folder, "run")]);
    },
    status: (folder) => ask(folder, "status"),
    stop: (folder, name) => ask(folder, "stop", name),
  };
}

/** A bare loop: restarts at once, knows nothing, answers nothing. */
export function bareLoop(language: "C" | "Bun", program: string): Peer {
  return {
    name: `bare ${language} loop`,
    missing: () => undefined,
    start: (rig, _folder, members) => rig.spawn([program, ...(members[0]?.argv ?? [])]),
  };
}

const s6: Peer = {
  name: "s6",
  missing: needs("s6-svscan"),
  // Without readiness s6 waits a second before each start.
  childOptions: () => ["--ready", "3"],
  start(rig, folder, members) {
    writeRuns(folder, members, { "notification-fd": "3\n", "timeout-kill": `${KILL_SECONDS * 1_000}\n` });
    return rig.spawn(["s6-svscan", join(folder, "scan")]);
  },
  status: (folder, members) =>
    members.length === 1
      ? ["s6-svstat", join(folder, "scan", members[0]?.name ?? "")]
      : ["sh", "-c", `for d in ${folder}/scan/*; do s6-svstat $d; done`],
  stop: (folder, name) => ["s6-svc", "-d", join(folder, "scan", name)],
};

const runit: Peer = {
  name: "runit",
  missing: needs("runsvdir"),
  start(rig, folder, members) {
    writeRuns(folder, members, {});
    return rig.spawn(["runsvdir", join(folder, "scan")]);
  },
  status: (folder, members) => ["sv", "status", ...members.map(({ name }) => join(folder, "scan", name))],
  stop: (folder, name) => ["sv", "-w", String(KILL_SECONDS), "force-stop", join(folder, "scan", name)],
  endSignal: "SIGHUP",
};

const monit: Peer = {
  name: "monit",
  missing: needs("monit"),
  childOptions: (folder, name) => ["--daemon", join(folder, `${name}.pid`)],
  start(rig, folder, members) {
    const checks = members.map(({ name, argv }) => {
      const pidfile = join(folder, `${name}.pid`);
      const stop = `/usr/sbin/start-stop-daemon --stop --oknodo --pidfile ${pidfile} --retry TERM/${KILL_SECONDS}/KILL/1`;
      return `check process ${name} with pidfile ${pidfile}
  start program = "${argv.join(" ")}" with timeout 5 seconds
  stop program = "${stop}" with timeout 10 seconds
  if does not exist then start`;
    });
    const files = ["logfile", "pidfile", "idfile", "statefile"].map((file) => `set ${file} ${join(folder, file)}`);
    const head = ["set daemon 1", ...files, `set httpd unixsocket ${join(folder, "m.sock")}`, "  allow bench:bench"];
    write(join(folder, "monitrc"), `${[...head, ...checks].join("\n")}\n`, 0o600);
    return rig.spawn(["monit", "-I", "-c", join(folder, "monitrc")]);
  },
  status: (folder) => ["monit", "-c", join(folder, "monitrc"), "summary"],
  stop: (folder, name) => ["monit", "-c", join(folder, "monitrc"), "stop", name],
};

const supervisord: Peer = {
  name: "supervisord",
  missing: needs("supervisord"),
  start(rig, folder, members) {
    const programs = members.map(
      ({ name, argv }) => `[program:${name}]
command=${argv.join(" ")}
startsecs=0
startretries=1000000
autorestart=true
stopwaitsecs=${KILL_SECONDS}
stdout_logfile=NONE
stderr_logfile=NONE`,
    );
    const socket = join(folder, "s.sock");
    const head = `[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=${join(folder, "pid")}
childlogdir=${folder}
[unix_http_server]
file=${socket}
[supervisorctl]
serverurl=unix://${socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface`;
    write(join(folder, "supervisord.conf"), `${[head, ...programs].join("\n")}\n`);
    return rig.spawn(["supervisord", "-c", join(folder, "supervisord.conf")]);
  },
  status: (folder) => ["supervisorctl", "-c", join(folder, "supervisord.conf"), "status"],
  stop: (folder, name) => ["supervisorctl", "-c", join(folder, "supervisord.conf"), "stop", name],
};

/** It stops with SIGINT unless it is told otherwise. */
const pm2Env = (folder: string): string[] => [
  "env",
  `PM2_HOME=${join(folder, "home")}`,
  "PM2_DISCRETE_MODE=true",
  "PM2_KILL_SIGNAL=SIGTERM",
];

/** pm2 in the foreground of its own daemon; `PM2` names its program where it is not in the PATH. */
function pm2(): Peer {
  const program = process.env["PM2"] ?? Bun.which("pm2") ?? "";
  return {
    name: "pm2",
    missing: () =>
      existsSync(program) ? undefined : "pm2 is not installed (npm i pm2, and PM2=…/node_modules/.bin/pm2)",
    start(rig, folder, members) {
      const apps = members.map(({ name, argv }) => ({
        name,
        script: argv[0],
        args: argv.slice(1),
        interpreter: "none",
        exec_mode: "fork",
        kill_timeout: KILL_SECONDS * 1_000,
        out_file: "/dev/null",
        error_file: "/dev/null",
        vizion: false,
        pmx: false,
        max_restarts: 1_000_000,
        min_uptime: 100,
      }));
      write(join(folder, "apps.config.json"), JSON.stringify({ apps }));
      return rig.spawn([...pm2Env(folder), program, "start", "--no-daemon", join(folder, "apps.config.json")]);
    },
    status: (folder) => [...pm2Env(folder), program, "jlist"],
    stop: (folder, name) => [...pm2Env(folder), program, "stop", name],
  };
}

/** All others, installed or not. */
export function otherPeers(): readonly Peer[] {
  return [s6, runit, monit, supervisord, pm2()];
}

/** Version of a Debian package, for the report; empty for what dpkg does not know. */
export function debianVersion(name: string): string {
  const names: Readonly<Record<string, string>> = { supervisord: "supervisor" };
  const text = existsSync("/var/lib/dpkg/status") ? readFileSync("/var/lib/dpkg/status", "utf8") : "";
  const block = text.split("\n\n").find((each) => each.startsWith(`Package: ${names[name] ?? name}\n`));
  return /^Version: (.*)$/m.exec(block ?? "")?.[1] ?? "";
}
