/** The binary's entry: argv names one verb, which alone is imported, so that every start is quick. */
import { runCli } from "./cli/cli.ts";

process.exitCode = await runCli(process.argv.slice(2));
