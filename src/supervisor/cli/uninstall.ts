/** `supervisor uninstall`: takes back what `install` wrote, and keeps config, state, logs, backups and user. Refused while a bot may live. */
import { createInterface } from "node:readline/promises";
import { EXIT } from "../../core/exit-code.ts";
import { problemLine } from "../../core/install-plan.ts";
import { alone, thisMachine, type Machine } from "./install/machine.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options {
  readonly dryRun?: true;
  readonly yes?: true;
}

export const command: Verb = {
  name: "uninstall",
  summary:
    "Removes units, log rotation and binary of an install. Config, state, logs, backups and the user stay. Refused while the daemon runs or a bot lives.",
  acts: true,
  configure: (cmd, io) => {
    cmd
      .option("--dry-run", "show what would be removed, and change nothing")
      .option("--yes", "do not ask")
      .addHelpText("after", "\nExit codes: 0 removed, 1 refused or failed, 2 usage.")
      .action((options: Options) => uninstall(options, thisMachine(), io));
  },
};

/** Nobody was there to ask. */
class UnconfirmedError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "--yes removes without asking, --dry-run only shows what would go";
}

/** `machine` is another one in tests only. */
export async function uninstall(options: Options, machine: Machine, io: CliIo): Promise<void> {
  const dryRun = options.dryRun === true;
  const deed = (): Promise<true> => act(options, machine, io);
  const done = dryRun || !machine.isRoot ? await deed() : await alone(machine, deed);
  if (done === undefined) throw new Error("cannot uninstall: another install or uninstall is at it; wait for its end");
}

/** `true`, so that it is told from nothing. */
async function act({ dryRun, yes }: Options, machine: Machine, io: CliIo): Promise<true> {
  const { planRemoval, remove } = await import("./install/remove.ts");
  const removal = await planRemoval(machine, dryRun !== true && machine.isRoot, io);
  const { problems, paths, kept, locks } = removal;
  try {
    if (problems.length > 0) {
      io.err(["cannot uninstall, and nothing was changed:", ...problems.map(problemLine)].join("\n"));
      io.setExitCode(EXIT.failed);
      return true;
    }
    if (dryRun === true) io.out(paths.map((path) => `remove ${path}`).join("\n") || "nothing of an install is here");
    else if (paths.length === 0) io.out("nothing was changed: nothing of an install is here");
    else {
      if (yes !== true && !(await isConfirmed(paths))) {
        io.err("nothing was changed");
        io.setExitCode(EXIT.failed);
        return true;
      }
      await remove(removal, machine, io.out);
    }
    for (const each of kept) io.out(`kept ${each}`);
    return true;
  } finally {
    for (const lock of locks) lock.release();
  }
}

async function isConfirmed(paths: readonly string[]): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UnconfirmedError("cannot uninstall: not confirmed");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((done) => terminal.once("close", () => done("")));
  const question = `${paths.map((path) => `remove ${path}`).join("\n")}\ntype uninstall to do it: `;
  const answer = await Promise.race([terminal.question(question), closed]);
  terminal.close();
  return answer.trim() === "uninstall";
}
