/** `supervisor version`: what this binary is. */
import { COMMIT, VERSION } from "./build-info.ts";
import type { CliIo, Verb } from "./verb.ts";

export const command: Verb = {
  name: "version",
  summary: "Shows the version, the commit it was built from and the runtime inside.",
  runPlain: ({ word, options }, io) =>
    word !== undefined || options.config !== undefined ? undefined : Promise.resolve(show(options, io)),
  configure: (cmd, io) => {
    cmd.option("--json", "one JSON object").action((options: Options) => show(options, io));
  },
};

interface Options {
  readonly json?: boolean;
}

function show({ json }: Options, io: CliIo): void {
  const info = {
    version: VERSION,
    commit: COMMIT,
    bun: Bun.version,
    platform: `${process.platform}-${process.arch}`,
  };
  io.out(
    json === true
      ? JSON.stringify(info)
      : `supervisor ${info.version} (${info.commit}, Bun ${info.bun}, ${info.platform})`,
  );
}
