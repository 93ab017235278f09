/** Whether this machine can boot a box or a virtual machine; asked once for each test file, and by the suite's set-up, which tells people. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The script that boots and ends boxes. */
export const TOOL = join(import.meta.dirname, "unit-box");

/** Why no box can be booted here; `undefined` when one can. */
export const unbootable: string | undefined = askDoctor();

function askDoctor(): string | undefined {
  const { exitCode, stdout } = Bun.spawnSync([TOOL, "doctor"], { stderr: "ignore" });
  if (exitCode === 0) return undefined;
  return /^verdict +(.*)$/m.exec(stdout.toString())?.[1] ?? "test/systemd/unit-box does not run";
}

export const EMULATOR = "qemu-system-x86_64";
/** Where `.ci/run` unpacks a kernel, and where an installed one is. Debian's cloud kernel has what the machine needs built in. */
const KERNEL_FOLDERS = [join(import.meta.dirname, "..", "..", "node_modules", ".kernel", "boot"), "/boot"];
/** mke2fs is no command for users. */
export const SYSTEM_PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;

/** Why no virtual machine can be booted here; `undefined` when one can. */
export const unbootableVm: string | undefined = findObstacle();

function findObstacle(): string | undefined {
  if (process.arch !== "x64") return "the virtual machine is made for x64";
  if (process.getuid?.() !== 0) return "not root";
  for (const name of [EMULATOR, "mke2fs", "/lib/systemd/systemd"])
    if (Bun.which(name, { PATH: SYSTEM_PATH }) === null) return `${name} is missing`;
  return findKernel() === undefined ? "no kernel of the Debian package linux-image-cloud-amd64 is here" : undefined;
}

export function findKernel(): string | undefined {
  for (const folder of KERNEL_FOLDERS) {
    const names = existsSync(folder) ? readdirSync(folder) : [];
    const name = names.findLast((each) => /^vmlinuz-.*-cloud-amd64$/.test(each));
    if (name !== undefined) return join(folder, name);
  }
  return undefined;
}
