/** Completion for zsh 5 (zshcompsys(1)): one function for each command, made of specs of _arguments. */
import {
  placesIn,
  type CommandTree,
  type CompletedOption,
  type CompletedValue,
  type PlacedCommand,
} from "./completion-tree.ts";

export function zshScript(tree: CommandTree): string {
  return `#compdef supervisor
# zsh completion of supervisor; made by: supervisor completion zsh

${FUNCTIONS}

${placesIn(tree).map(functionOf).join("\n\n")}

# Either this file was found in $fpath, and is the body of the function, or it was read by a start-up file.
if [[ \${funcstack[1]-} == _supervisor ]]; then
  _supervisor "$@"
else
  compdef _supervisor supervisor
fi`;
}

function functionOf({ path, command }: PlacedCommand): string {
  const { subs, options, args } = command;
  const isGroup = subs.length > 0;
  const specs = [
    ...options.map(optionSpec),
    ...(isGroup ? ["':command:->command'", "'*::argument:->argument'"] : args.map(argumentSpec)),
  ];
  const call = [`_arguments${isGroup ? " -C" : ""} -s -S`, ...specs.map((spec) => `    ${spec}`)].join(" \\\n");
  const name = functionName(path);
  if (!isGroup) return `${name}() {\n  ${call}\n}`;
  return `${name}() {
  local curcontext=$curcontext state line ret=1
  local -A opt_args
${path.length === 0 ? '  local -a _supervisor_words=("${(@)words[1,CURRENT-1]}")\n' : ""}  ${call} && ret=0
  case $state in
  command)
    local -a commands=(
${subs.map(({ name: sub, summary }) => `      ${quoted(`${sub}:${summary}`)}`).join("\n")}
    )
    _describe -t commands command commands && ret=0
    ;;
  argument)
    case $words[1] in
${subs.map(({ name: sub }) => `    ${sub}) ${functionName([...path, sub])} && ret=0 ;;`).join("\n")}
    esac
    ;;
  esac
  return ret
}`;
}

function functionName(path: readonly string[]): string {
  return ["_supervisor", ...path].join("_");
}

/** One that has been typed is not offered again, in none of its forms. */
function optionSpec({ flags, help, value, repeats }: CompletedOption): string {
  const others = repeats ? quoted("*") : quoted(`(${flags.join(" ")})`);
  const names = flags.map((flag) => (value !== undefined && flag.startsWith("--") ? `${flag}=` : flag));
  const forms = names.length === 1 ? (names[0] ?? "") : `{${names.join(",")}}`;
  const taken = value === undefined ? "" : `:${escaped(value.label)}:${actionOf(value)}`;
  return `${others}${forms}${quoted(`[${escaped(help)}]${taken}`)}`;
}

function argumentSpec(value: CompletedValue): string {
  return quoted(`:${escaped(value.label)}:${actionOf(value)}`);
}

function actionOf({ source }: CompletedValue): string {
  switch (source.kind) {
    case "words":
      return `(${source.words.join(" ")})`;
    case "names":
      return ` ${["_supervisor_names", source.of, ...source.words].join(" ")}`;
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case "text":
      // Says what is wanted, and offers nothing.
      return " ";
  }
}

function escaped(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const FUNCTIONS = `# Names of kind $1, which the binary is asked for, as it was typed; and the words that follow.
_supervisor_names() {
  local program=\${\${(Q)_supervisor_words[1]}/#\\~\\//$HOME/}
  local -a names=("\${(@f)$("$program" __complete "$1" -- "\${(@Q)_supervisor_words[2,-1]}" 2>/dev/null </dev/null)}")
  names+=("\${@:2}")
  compadd -- \${names:#}
}`;
