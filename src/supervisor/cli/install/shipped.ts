/** The files of config/ that an install writes, carried in the binary: who has it needs nothing else. */
import { LOG_FOLDER, RUNTIME_FOLDER, STATE_FOLDER, type Shipped } from "../../../core/install-plan.ts";
import logrotate from "../../../../config/logrotate/tradingbot" with { type: "text" };
import backupService from "../../../../config/systemd/tradingbot-backup.service" with { type: "text" };
import backupTimer from "../../../../config/systemd/tradingbot-backup.timer" with { type: "text" };
import service from "../../../../config/systemd/tradingbot.service" with { type: "text" };
import unprivileged from "../../../../config/systemd/unprivileged.conf" with { type: "text" };
import { installedStarterConfig } from "../../runtime/config/starter.ts";

/** `config` is where the starter will lie. */
export function shippedFiles(config: string): Shipped {
  const folders = { stateDir: STATE_FOLDER, runtimeDir: RUNTIME_FOLDER, logDir: LOG_FOLDER };
  return {
    service,
    backupService,
    backupTimer,
    unprivileged,
    logrotate,
    starter: installedStarterConfig(folders, config),
  };
}

export function digest(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
