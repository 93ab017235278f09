/** `supervisor maintenance on|off|status`: a time in which no trigger closes positions. */
import { formatDuration, parseDuration } from "../../core/duration.ts";
import { EXIT } from "../../core/exit-code.ts";
import { MAX_MAINTENANCE_MS } from "../../core/maintenance.ts";
import { plainJson, plainText } from "../../core/plain-text.ts";
import { maintenanceAnswerSchema } from "../runtime/api.ts";
import { callDaemon, DaemonError } from "./client.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: boolean;
  readonly for?: string;
  readonly reason?: string;
}

const PATH = "/v1/maintenance";

export const command: Verb = {
  name: "maintenance",
  summary:
    "Suspends every trigger that closes positions, for a time; supervisor emergency close BOT still does. Bots are watched and restarted as ever.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd.command("on"))
      .description("Begins maintenance, or gives it a new end. It outlives the daemon and ends by itself.")
      .requiredOption("--for <duration>", `how long: 30m, 2h, at most ${formatDuration(MAX_MAINTENANCE_MS)}`)
      .option("--reason <text>", "goes into the events and the status")
      .option("--json", "one JSON object")
      .action((options: Options) => begin(options, io));
    withConfig(cmd.command("off"))
      .description("Ends maintenance.")
      .option("--json", "one JSON object")
      .action((options: Options) => tell("POST", { on: false }, options, io));
    withConfig(cmd.command("status"))
      .description("Shows whether there is maintenance, and until when.")
      .option("--json", "one JSON object")
      .action((options: Options) => tell("GET", undefined, options, io));
  },
};

async function begin(options: Options, io: CliIo): Promise<void> {
  const forMs = parseDuration(options.for ?? "");
  if (forMs === undefined || forMs <= 0 || forMs > MAX_MAINTENANCE_MS)
    throw new DaemonError(
      {
        code: "usage",
        message: `cannot begin maintenance: --for "${options.for ?? ""}" is no time up to ${formatDuration(MAX_MAINTENANCE_MS)}`,
        hint: "write it as 30m or 2h",
      },
      EXIT.usage,
    );
  const reason = options.reason === undefined ? {} : { reason: options.reason };
  await tell("POST", { on: true, forMs, ...reason }, options, io);
}

async function tell(method: "GET" | "POST", body: unknown, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const answer = await callDaemon(place, method, PATH, body);
  if (options.json === true) return io.out(plainJson(answer));
  const { maintenance, ended } = maintenanceAnswerSchema.parse(answer);
  if (maintenance === null) return io.out(ended === true ? "maintenance is over" : "there is no maintenance");
  const why = maintenance.reason === null ? "" : ` (${plainText(maintenance.reason)})`;
  return io.out(`maintenance until ${maintenance.until}${why}: no trigger closes positions`);
}
