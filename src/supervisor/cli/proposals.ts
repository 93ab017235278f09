/** Commands that a text proposes, made to work as they stand for who has named a config file: without it they would speak to another supervisor. */
import { shellWord } from "../../core/shell-word.ts";

/** Verbs with --config, and their words that come before it; a test holds the table to the verbs themselves. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  run: [],
  status: [],
  top: [],
  start: [],
  stop: [],
  restart: [],
  reload: [],
  logs: [],
  events: [],
  blackbox: ["tail", "grep", "export"],
  arm: [],
  restore: [],
  drill: [],
  install: [],
  upgrade: [],
  selftest: [],
  doctor: [],
  dump: ["now", "list", "show", "verify", "export", "prune"],
  state: ["show", "doctor", "salvage", "level", "rekey"],
  emergency: ["plan", "close", "ack", "preflight", "report"],
  maintenance: ["on", "off", "status"],
  backup: ["run", "copy", "list", "verify", "prune", "export"],
  config: ["check", "show", "diff"],
};

/** `file` as it was typed; `undefined`: none was named, and the text stays. */
export function completeCommands(text: string, file: string | undefined): string {
  if (file === undefined) return text;
  return text.replace(/\bsupervisor ([a-z]+)(?: ([a-z]+))?(?![\w-])/g, (command, verb: string, sub = "") => {
    const subs = Object.hasOwn(COMMANDS, verb) ? COMMANDS[verb] : undefined;
    if (subs === undefined || (subs.length > 0 && !subs.includes(sub))) return command;
    const rest = subs.length > 0 || sub === "" ? "" : ` ${sub}`;
    return `supervisor ${verb}${subs.length > 0 ? ` ${sub}` : ""} --config ${shellWord(file)}${rest}`;
  });
}

/** The value of --config among the words of a command line; `undefined`: there is none. */
export function configNamedIn(args: readonly string[]): string | undefined {
  const at = args.findLastIndex((arg) => arg === "-c" || arg === "--config" || /^(--config=|-c.)/.test(arg));
  const arg = args[at];
  if (arg === undefined) return undefined;
  if (arg.startsWith("--config=")) return arg.slice("--config=".length);
  return arg === "-c" || arg === "--config" ? args[at + 1] : arg.slice(2);
}
