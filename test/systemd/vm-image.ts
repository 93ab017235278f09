/**
 * The disk of a virtual machine that boots systemd with nothing but cgroup v2: this machine's own programs and their libraries, the
 * compiled binary, the shipped unit, and an agent that runs what it is told over a serial line. An ext4 file system, made without mounting.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SYSTEM_PATH } from "./bootable.ts";
import { UNIT } from "./box.ts";

const root = join(import.meta.dirname, "..", "..");
/** What the bots of the tests, the agent and the supervisor itself start. */
const PROGRAMS = [
  "base64 bash cat chmod cp cut date dd env false flock grep head id kill ln ls mkdir mount mv rm rmdir sed setpriv",
  "setsid sh sleep stty sync tail tee touch true uname",
  "dmesg journalctl systemctl systemd-notify",
].flatMap((line) => line.split(" "));
/** Programs of systemd that are no commands. */
const DAEMONS = ["systemd", "systemd-journald", "systemd-shutdown", "systemd-cgroups-agent", "systemd-executor"].map(
  (name) => `/usr/lib/systemd/${name}`,
);
/** Room for the state and logs of the tests beside the files, MiB. A crash dump wants two GiB free; the file is sparse. */
const FREE_MIB = 4_096;

/** The first program of the agent's service; each line it reads is a script, each line it writes is exit code, output and errors. */
const AGENT = `exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
while read -r line <&3; do
  echo "$line" | base64 -d > /run/agent.script
  bash /run/agent.script > /run/agent.out 2> /run/agent.err < /dev/null
  echo "$? $(base64 -w0 /run/agent.out)|$(base64 -w0 /run/agent.err)" >&3
done
`;

/** Mounted by systemd itself are only the API file systems; nothing here needs udev, a login or a network. */
const UNITS: Readonly<Record<string, string>> = {
  "vm.target": "[Unit]\nWants=agent.service systemd-journald.service\nAfter=agent.service\nAllowIsolate=yes\n",
  "agent.service":
    "[Unit]\nDefaultDependencies=no\nAfter=systemd-journald.socket\n[Service]\nExecStart=/bin/bash /etc/agent.sh\nEnvironment=PATH=/usr/local/bin:/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8\nOOMScoreAdjust=-900\n",
  "network-online.target": "[Unit]\nDefaultDependencies=no\n",
};

/** Makes the image at `path`, with `files` (place in the machine: text) beside the system. */
export function makeImage(path: string, binary: string, files: Readonly<Record<string, string>>): void {
  const folder = mkdtempSync(join(tmpdir(), "sv-vm-root-"));
  try {
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      mkdirSync(join(folder, "usr", name), { recursive: true });
      symlinkSync(`usr/${name}`, join(folder, name));
    }
    for (const name of [
      "dev",
      "proc",
      "sys",
      "run",
      "root",
      "tmp",
      "opt",
      "etc/systemd/system",
      "var/lib",
      "var/log",
      "var/tmp",
    ])
      mkdirSync(join(folder, name), { recursive: true });
    copySystem(folder, binary);
    const put = (place: string, text: string, mode = 0o644): void => {
      mkdirSync(dirname(join(folder, place)), { recursive: true });
      writeFileSync(join(folder, place), text, { mode });
    };
    for (const [name, text] of Object.entries(UNITS)) put(`etc/systemd/system/${name}`, text);
    put("etc/agent.sh", AGENT);
    put("etc/machine-id", "00000000000000000000000000000001\n");
    put("etc/hostname", "vm\n");
    put("etc/systemd/journald.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n");
    put(`etc/systemd/system/${UNIT}`, readFileSync(join(root, "config", "systemd", UNIT), "utf8"));
    put("opt/bot.sh", readFileSync(join(import.meta.dirname, "bot.sh"), "utf8"), 0o755);
    for (const [place, text] of Object.entries(files)) put(place, text);
    mkdirSync(join(folder, "usr/local/bin"), { recursive: true });
    copyFileSync(binary, join(folder, "usr/local/bin/supervisor"));
    run(["truncate", "-s", `${FREE_MIB}M`, path]);
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", folder, path]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function copySystem(folder: string, binary: string): void {
  const programs = PROGRAMS.map((name) => {
    const path = Bun.which(name);
    if (path === null) throw new Error(`cannot make the disk of a virtual machine: ${name} is not installed`);
    return path;
  });
  const executables = [...programs, ...DAEMONS.filter((path) => Bun.file(path).size > 0)];
  const libraries = run(["ldd", ...executables, binary]).match(/\/\S+\.so\S*(?= \(0x)/g) ?? [];
  const files = [...new Set([...executables, ...libraries, "/etc/passwd", "/etc/group", "/etc/os-release"])];
  copyAs(folder, ["--dereference"], files);
  copyAs(folder, [], ["/usr/lib/systemd/system"]);
}

/** By tar, which keeps the merged folders' links; `--dereference`, because a link may lead out of what is copied. */
function copyAs(folder: string, options: readonly string[], files: readonly string[]): void {
  const list = files.map((file) => `'.${file}'`).join(" ");
  run(["sh", "-c", `tar -C / ${options.join(" ")} -cf - ${list} | tar -C '${folder}' --keep-directory-symlink -xf -`]);
}

function run(cmd: string[]): string {
  const env = { ...process.env, PATH: SYSTEM_PATH };
  const { exitCode, stdout, stderr } = Bun.spawnSync(cmd, { env, stdio: ["ignore", "pipe", "pipe"] });
  if (exitCode !== 0) throw new Error(`${cmd[0]}: exit code ${exitCode}\n${stderr.toString()}`);
  return stdout.toString();
}
