/** The commands of the binary as data, for the scripts that complete them; made from the definitions that also make the help. */

/** Names that are asked of the binary when they are needed: supervisor __complete KIND. */
export const NAME_KINDS = ["bots", "accounts", "targets", "stores", "backups", "dumps", "incidents"] as const;
export type NameKind = (typeof NAME_KINDS)[number];

/** What a value may be. */
export type Source =
  | { readonly kind: "words"; readonly words: readonly string[] }
  /** `words`: what else is taken in place of a name. */
  | { readonly kind: "names"; readonly of: NameKind; readonly words: readonly string[] }
  | { readonly kind: "file" | "folder" | "text" };

export interface CompletedValue {
  /** What it is called in the help. */
  readonly label: string;
  readonly source: Source;
}

export interface CompletedOption {
  /** As they are typed: `-c`, `--config`. */
  readonly flags: readonly string[];
  readonly help: string;
  /** `undefined`: it takes none. */
  readonly value?: CompletedValue;
  readonly repeats: boolean;
}

export interface CompletedCommand {
  /** Its last word. */
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  /** In their order. */
  readonly args: readonly CompletedValue[];
  /** Where there are any, the next word is the name of one. */
  readonly subs: readonly CompletedCommand[];
}

/** The binary itself. */
export type CommandTree = CompletedCommand;

export interface PlacedCommand {
  /** The words that lead to it; none of the binary itself. */
  readonly path: readonly string[];
  readonly command: CompletedCommand;
}

/** The command and all below it, each before its own. */
export function placesIn(command: CompletedCommand, path: readonly string[] = []): readonly PlacedCommand[] {
  return [{ path, command }, ...command.subs.flatMap((sub) => placesIn(sub, [...path, sub.name]))];
}
