/** What a shell needs to complete a command line, and the script of each shell that is made from it. */
import { bashScript } from "./completion-bash.ts";
import { fishScript } from "./completion-fish.ts";
import type { CommandTree } from "./completion-tree.ts";
import { zshScript } from "./completion-zsh.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The script that makes the shell complete `supervisor`. */
export function completionScript(shell: Shell, tree: CommandTree): string {
  switch (shell) {
    case "bash":
      return bashScript(tree);
    case "zsh":
      return zshScript(tree);
    case "fish":
      return fishScript(tree);
  }
}
