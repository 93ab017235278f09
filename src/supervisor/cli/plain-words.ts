/** The usual command lines, read without commander, whose import costs more than most commands. */

export interface PlainWords {
  /** The one word beside the options; `undefined` when there is none. */
  readonly word: string | undefined;
  readonly options: { readonly config?: string; readonly json?: true };
}

/** At most one word, `-c FILE` or `--config FILE`, and `--json`; `undefined` for everything else, which is commander's to judge. */
export function plainWords(args: readonly string[]): PlainWords | undefined {
  let word: string | undefined;
  let config: string | undefined;
  let json = false;
  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i] ?? "";
    if (arg === "-c" || arg === "--config") {
      i += 1;
      config = args[i];
      if (config === undefined || config.startsWith("-")) return undefined;
    } else if (arg === "--json") json = true;
    else if (arg === "" || arg.startsWith("-") || word !== undefined) return undefined;
    else word = arg;
  }
  return { word, options: { ...(config === undefined ? {} : { config }), ...(json ? { json } : {}) } };
}
