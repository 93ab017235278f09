/** Completion for fish 3 and later (complete(1) of fish): one line for each option, sub-command and argument. */
import { placesIn, type CommandTree, type CompletedValue, type PlacedCommand } from "./completion-tree.ts";

export function fishScript(tree: CommandTree): string {
  const places = placesIn(tree);
  const groups = places.filter(({ command }) => command.subs.length > 0).map(({ path }) => quoted(path.join(" ")));
  const valued = places.flatMap(({ path, command }) => {
    const flags = command.options.flatMap((option) => (option.value === undefined ? [] : option.flags));
    return flags.length === 0
      ? []
      : [`        case ${quoted(path.join(" "))}`, `            contains -- $argv[2] ${flags.join(" ")}`];
  });
  return `# fish completion of supervisor; made by: supervisor completion fish

# Whether the next word names a sub-command of command $argv[1].
function __supervisor_has_subs
    contains -- "$argv[1]" ${groups.join(" ")}
end

# Whether option $argv[2] of command $argv[1] takes a value.
function __supervisor_takes_value
    switch "$argv[1]"
${valued.join("\n")}
        case '*'
            return 1
    end
end

${FUNCTIONS}

complete -c supervisor -f
${places.flatMap(linesOf).join("\n")}`;
}

function linesOf({ path, command }: PlacedCommand): readonly string[] {
  const where = path.join(" ");
  const subs = command.subs.map(
    ({ name, summary }) => `${start(`__supervisor_at ${quoted(where)} 1`)} -a ${name} -d ${quoted(summary)}`,
  );
  const options = command.options.map(({ flags, help, value }) => {
    const names = flags.map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
    const taken = value === undefined ? "" : ` ${valueText(value)}`;
    return `${start(`__supervisor_in ${quoted(where)}`)} ${names.join(" ")}${taken} -d ${quoted(help)}`;
  });
  const args = command.args.flatMap((value, index) =>
    value.source.kind === "text"
      ? []
      : [`${start(`__supervisor_at ${quoted(where)} ${index + 1}`)} ${argumentText(value)} -d ${quoted(value.label)}`],
  );
  return [...subs, ...options, ...args];
}

function start(condition: string): string {
  return `complete -c supervisor -n ${quoted(condition)}`;
}

/** Of an option, which then must have one. */
function valueText(value: CompletedValue): string {
  switch (value.source.kind) {
    case "file":
      return "-r -F";
    case "text":
      return "-x";
    case "folder":
    case "names":
    case "words":
      return `-x ${argumentText(value)}`;
  }
}

function argumentText({ source }: CompletedValue): string {
  switch (source.kind) {
    case "file":
      return "-F";
    case "folder":
      return `-a ${quoted("(__fish_complete_directories)")}`;
    case "names":
      return `-a ${quoted([`(__supervisor_names ${source.of})`, ...source.words].join(" "))}`;
    case "words":
      return `-a ${quoted(source.words.join(" "))}`;
    case "text":
      return "";
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

const FUNCTIONS = `# The command that the words before the cursor lead to, and on a line of its own how many of its arguments there are.
function __supervisor_place
    set -l words (commandline -opc)
    set -e words[1]
    set -l path
    set -l count 0
    set -l pending
    set -l ended
    for word in $words
        if set -q pending[1]
            set -e pending
            continue
        end
        if not set -q ended[1]
            switch $word
                case --
                    set ended 1
                    continue
                case '--*=*'
                    continue
                case '-*'
                    __supervisor_takes_value "$path" $word; and set pending 1
                    continue
            end
        end
        if __supervisor_has_subs "$path"
            set -a path $word
        else
            set count (math $count + 1)
        end
    end
    echo "$path"
    echo $count
end

# Whether the cursor is within command $argv[1].
function __supervisor_in
    set -l place (__supervisor_place)
    test "$place[1]" = "$argv[1]"
end

# Whether the word at the cursor is number $argv[2] of those that follow command $argv[1].
function __supervisor_at
    set -l place (__supervisor_place)
    test "$place[1]" = "$argv[1]" -a (math $place[2] + 1) = "$argv[2]"
end

# Names of kind $argv[1], which the binary is asked for, as it was typed.
function __supervisor_names
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    $program __complete $argv[1] -- $words[2..-1] 2>/dev/null </dev/null
end`;
