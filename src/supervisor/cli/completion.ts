/** `supervisor completion SHELL`: a script with all commands and options as commander knows them, so that nothing is written twice. */
import { Argument, Command, type Option } from "commander";
import { completionScript, SHELLS, type Shell } from "../../report/completion.ts";
import {
  NAME_KINDS,
  type CommandTree,
  type CompletedCommand,
  type CompletedOption,
  type CompletedValue,
  type NameKind,
  type Source,
} from "../../report/completion-tree.ts";
import type { CliIo, Verb } from "./verb.ts";
import type { VerbEntry } from "./verbs.ts";

export const command: Verb = {
  name: "completion",
  summary: "Prints a script that makes a shell complete commands, options and names.",
  configure: (cmd, io) => {
    cmd
      .addArgument(new Argument(`<${SHELLS.join("|")}>`, "the shell").choices(SHELLS))
      .addHelpText(
        "after",
        `
For this shell alone, and for each one that is begun from now on:
  bash  source <(supervisor completion bash)
        supervisor completion bash > ~/.local/share/bash-completion/completions/supervisor
  zsh   source <(supervisor completion zsh)
        supervisor completion zsh > "\${fpath[1]}/_supervisor"
  fish  supervisor completion fish | source
        supervisor completion fish > ~/.config/fish/completions/supervisor.fish`,
      )
      .action(async (shell: Shell) => {
        const { verbs } = await import("./verbs.ts");
        io.out(completionScript(shell, await commandTree(verbs, io)));
      });
  },
};

/** All that a person can type. */
export async function commandTree(verbs: readonly VerbEntry[], io: CliIo): Promise<CommandTree> {
  const shown = verbs.filter(({ hidden }) => hidden !== true);
  const loaded = await Promise.all(shown.map((entry) => entry.load()));
  const subs = shown.map(({ name, summary }, index) => {
    const cmd = new Command(name).description(summary);
    loaded[index]?.command.configure(cmd, io);
    return describe(cmd, summary);
  });
  const names = { label: "command", source: { kind: "words", words: shown.map(({ name }) => name) } } as const;
  const help = { name: "help", summary: "show the help of a command", options: [], args: [names], subs: [] };
  const options = [
    { flags: ["-h", "--help"], help: "show all commands", repeats: false },
    { flags: ["-V", "--version"], help: "show the version", repeats: false },
  ];
  return { name: "supervisor", summary: "", options, args: [], subs: [...subs, help] };
}

function describe(cmd: Command, summary: string): CompletedCommand {
  const help = cmd.createHelp();
  return {
    name: cmd.name(),
    summary,
    // As its help shows them.
    options: help.visibleOptions(cmd).map(describeOption),
    args: cmd.registeredArguments.map((argument) => ({
      label: argument.name(),
      source: sourceOf([argument.name()], argument.argChoices, argument.defaultValue),
    })),
    subs: cmd.commands.map((sub) => describe(sub, sub.description())),
  };
}

function describeOption(option: Option): CompletedOption {
  const { short, long, flags, description, required, optional, variadic, defaultValue, argChoices } = option;
  const label = /[<[](?<label>[^>\].]+)/.exec(flags)?.groups?.["label"] ?? "";
  const source = sourceOf([label, option.name()], argChoices, undefined);
  const value: { value?: CompletedValue } = required || optional ? { value: { label, source } } : {};
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    help: description,
    ...value,
    repeats: variadic || Array.isArray(defaultValue),
  };
}

/** What a value is called in the help says what it is. */
const KINDS: Readonly<Record<string, Exclude<Source["kind"], "words"> | NameKind>> = {
  bot: "bots",
  account: "accounts",
  target: "targets",
  store: "stores",
  id: "backups",
  dump: "dumps",
  what: "incidents",
  file: "file",
  path: "file",
  folder: "folder",
};

/** `labels`: what it is called, the best first. A default that is typed in place of a name is offered with the names. */
function sourceOf(labels: readonly string[], choices: readonly string[] | undefined, standard: unknown): Source {
  if (choices !== undefined) return { kind: "words", words: choices };
  const kind = labels.map((label) => KINDS[label]).find((each) => each !== undefined) ?? "text";
  const names = NAME_KINDS.find((each) => each === kind);
  if (names !== undefined) return { kind: "names", of: names, words: typeof standard === "string" ? [standard] : [] };
  return { kind: kind === "file" || kind === "folder" ? kind : "text" };
}
