/** `supervisor demo`: the whole story on one machine: a bot trades, is broken on purpose, and its account is made safe. */
import { InvalidArgumentError, Option } from "commander";
import { EXIT } from "../../core/exit-code.ts";
import type { Verb } from "./verb.ts";

interface Options {
  readonly port: number;
  readonly exchange: "binance" | "okx";
  readonly keep?: boolean;
}

export const command: Verb = {
  name: "demo",
  summary:
    "Shows the whole story on a local paper exchange: a bot trades, is killed, hangs, crashes for good, and its positions are closed. Under 60 s; exit code 0 only if the account really ends flat.",
  acts: true,
  configure: (cmd, io) => {
    cmd
      .option("--port <port>", "TCP port of the paper exchange on 127.0.0.1", parsePort, 0)
      .addOption(
        new Option("--exchange <name>", "what the paper exchange speaks")
          .choices(["binance", "okx"])
          .default("binance"),
      )
      .option("--keep", "leave everything running at the end, to play with")
      .action(async ({ port, exchange, keep = false }: Options) => {
        const { tellStory } = await import("./demo-story.ts");
        const ended = await tellStory({ port, exchange, keep, io });
        io.setExitCode(ended ? EXIT.done : EXIT.failed);
      });
  },
};

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError(`"${text}" is not a port from 0 to 65535`);
}
