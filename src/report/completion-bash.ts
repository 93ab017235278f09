/** Completion for bash 4 and later (bash(1), "Programmable Completion"): the commands as a table, and one function that reads it. */
import {
  placesIn,
  type CommandTree,
  type CompletedCommand,
  type PlacedCommand,
  type Source,
} from "./completion-tree.ts";

export function bashScript(tree: CommandTree): string {
  const cases = placesIn(tree).map(caseOf).join("\n");
  return `# bash completion of supervisor; made by: supervisor completion bash

# What command $1 takes: names and help of its sub-commands and options, and what its values are.
_supervisor_table() {
  subs=() options=() values=() args=()
  case $1 in
${cases}
  esac
}

${FUNCTIONS}`;
}

function caseOf({ path, command }: PlacedCommand): string {
  const { subs, options, args } = command;
  const lines = [
    list(
      "subs",
      subs.map(({ name, summary }) => `${name}\t${summary}`),
    ),
    list(
      "options",
      options.flatMap(({ flags, help }) => flags.map((flag) => `${flag}\t${help}`)),
    ),
    list("values", valuesOf(command)),
    list(
      "args",
      args.map(({ source }) => sourceText(source)),
    ),
  ];
  return [`  ${quoted(path.join(" "))})`, ...lines.filter((line) => line !== ""), "    ;;"].join("\n");
}

function valuesOf({ options }: CompletedCommand): readonly string[] {
  return options.flatMap(({ flags, value }) =>
    value === undefined ? [] : flags.map((flag) => `${flag} ${sourceText(value.source)}`),
  );
}

function sourceText(source: Source): string {
  if (source.kind === "words") return ["words", ...source.words].join(" ");
  if (source.kind === "names") return ["names", source.of, ...source.words].join(" ");
  return source.kind;
}

function list(name: string, items: readonly string[]): string {
  if (items.length === 0) return "";
  return [`    ${name}=(`, ...items.map((item) => `      ${quoted(item)}`), "    )"].join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const FUNCTIONS = `# Lines of a word, a tab and its help: offers those that begin as the word at the cursor, with the help where there is a choice.
_supervisor_offer() {
  local line word width=0
  local -a found=()
  for line; do [[ $line == "$cur"* ]] && found+=("$line"); done
  if ((\${#found[@]} == 1)) || [[ \${COMP_TYPE:-9} == 37 || \${COMP_TYPE:-9} == 42 ]]; then
    for line in "\${found[@]}"; do COMPREPLY+=("$prefix\${line%%$'\\t'*}"); done
    return
  fi
  for line in "\${found[@]}"; do
    word=\${line%%$'\\t'*}
    ((\${#word} > width)) && width=\${#word}
  done
  for line in "\${found[@]}"; do
    if [[ $line == *$'\\t'* ]]; then
      printf -v word '%-*s  (%s)' "$width" "\${line%%$'\\t'*}" "\${line#*$'\\t'}"
      # A line that wraps would make a list of all of them unreadable.
      ((\${#word} >= \${COLUMNS:-80})) && word=\${word:0:\${COLUMNS:-80} - 5}...
    else
      word=$line
    fi
    COMPREPLY+=("$prefix$word")
  done
}

# What the value $1 of the table may be.
_supervisor_offer_value() {
  local -a words found=()
  read -ra words <<<"$1"
  case \${words[0]-} in
  words) _supervisor_offer "\${words[@]:1}" ;;
  names)
    # The binary as it was typed; what was typed with quotes is taken without them.
    mapfile -t found < <("\${COMP_WORDS[0]/#\\~\\//$HOME/}" __complete "\${words[1]}" -- "\${before[@]//[\\"\\'\\\\]/}" 2>/dev/null </dev/null)
    _supervisor_offer "\${found[@]}" "\${words[@]:2}"
    ;;
  file | folder)
    local what=default action=-f
    [[ $1 == folder ]] && what=dirnames action=-d
    # Where bash has not taken the word apart, it cannot complete a part of it by itself.
    if [[ -n $prefix ]]; then mapfile -t COMPREPLY < <(compgen "$action" -P "$prefix" -- "$cur"); else compopt -o "$what"; fi
    ;;
  esac
}

# The value of option $1 by the table; empty where it takes none.
_supervisor_value_of() {
  local line
  value=
  for line in "\${values[@]}"; do [[ $line == "$1 "* ]] && value=\${line#* }; done
}

_supervisor() {
  local IFS=$' \\t\\n' cur=\${COMP_WORDS[COMP_CWORD]} path='' prefix='' value='' ended='' word
  local -i at=0
  local -a subs options values args before=()
  COMPREPLY=()
  _supervisor_table ''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # bash takes --option=value apart.
    [[ $word == = ]] && continue
    before+=("$word")
    if [[ -n $value ]]; then
      value=
    elif [[ $word == -- ]]; then
      ended=1
    elif [[ $word == -* && -z $ended ]]; then
      _supervisor_value_of "$word"
    elif ((\${#subs[@]} > 0)); then
      path=\${path:+$path }$word
      _supervisor_table "$path"
    else
      at+=1
    fi
  done
  [[ $cur == = ]] && cur=
  if [[ -z $value && -z $ended && $cur == -*=* ]]; then
    prefix=\${cur%%=*}=
    _supervisor_value_of "\${cur%%=*}"
    cur=\${cur#*=}
  fi
  if [[ -n $value ]]; then
    _supervisor_offer_value "$value"
  elif [[ $cur == -* && -z $ended ]]; then
    _supervisor_offer "\${options[@]}"
  elif ((\${#subs[@]} > 0)); then
    _supervisor_offer "\${subs[@]}"
  elif [[ -n \${args[at]-} ]]; then
    _supervisor_offer_value "\${args[at]}"
  elif [[ -z $cur && -z $ended ]]; then
    _supervisor_offer "\${options[@]}"
  fi
}

# Before 4.4, bash knows only the order of the alphabet.
complete -o nosort -F _supervisor supervisor 2>/dev/null || complete -F _supervisor supervisor`;
