/** What systemd does for the supervisor here: its version, the unit, who runs the daemon, and journald (systemctl(1), sd_booted(3)). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../platform/clock.ts";
import { runCommand } from "../../../platform/command.ts";
import { JOURNAL_SOCKET } from "../../../platform/journal-stream.ts";
import { lockHolder } from "../../../platform/lock.ts";
import { readProc } from "../../../platform/proc.ts";
import type { CliIo } from "../verb.ts";
import { ok, warning, type Finding } from "./finding.ts";

const UNIT = "tradingbot.service";
/** The oldest that the unit is tested with: Debian 12. */
const OLDEST_VERSION = 252;
/** systemctl asks the manager over the bus; one that hangs must not hang us. */
const ASK_MS = 5_000;
const ANSWER_BYTES = 8_192;
const PROPERTIES = "LoadState,ActiveState,UnitFileState,Delegate,KillMode,NeedDaemonReload,MainPID";

/** `stateDir` is that of the config, where there is one. */
export async function systemdFindings(stateDir: string | undefined, io: CliIo): Promise<readonly Finding[]> {
  const daemon = stateDir === undefined ? undefined : daemonOf(stateDir);
  if (!existsSync("/run/systemd/system"))
    return [ok("systemd", "this system was not booted by it: let something else start the daemon again when it dies")];
  const version = await ask(["systemctl", "--version"], io);
  const unit = await ask(["systemctl", "show", "--property", PROPERTIES, UNIT], io);
  return [versionFinding(version), ...unitFindings(unit, daemon), journaldFinding(existsSync(JOURNAL_SOCKET))];
}

/** The lock itself is not touched: a daemon that starts just now would find it taken. Its file may name one that is dead. */
function daemonOf(stateDir: string): number | undefined {
  const pid = lockHolder(join(stateDir, "supervisor.lock"));
  return pid !== undefined && readProc(`/proc/${pid}/cmdline`)?.includes("\0run") === true ? pid : undefined;
}

async function ask(command: readonly string[], io: CliIo): Promise<string | undefined> {
  const env = { PATH: io.env["PATH"] ?? "/usr/bin:/bin" };
  const result = await runCommand({
    command,
    cwd: "/",
    env,
    timeoutMs: ASK_MS,
    clock: systemClock,
    maxOutputBytes: ANSWER_BYTES,
  });
  return result.kind === "exited" && result.code === 0 ? result.output : undefined;
}

/** `answer` is that of `systemctl --version`. */
export function versionFinding(answer: string | undefined): Finding {
  const version = /^systemd (\d+)/.exec(answer ?? "")?.[1];
  if (version === undefined)
    return warning("systemd", "it runs here, but systemctl does not say which version", "systemctl --version");
  if (Number(version) >= OLDEST_VERSION) return ok("systemd", `version ${version}`);
  return warning(
    "systemd",
    `version ${version}: the unit is tested with ${OLDEST_VERSION} and later, and settings it does not know are ignored`,
    "systemctl status tradingbot says which; take them out of the unit, or update",
  );
}

/** `answer` is that of `systemctl show`, `daemon` the pid that has the state folder. */
export function unitFindings(answer: string | undefined, daemon: number | undefined): readonly Finding[] {
  if (answer === undefined)
    return [warning("unit", `cannot ask systemd for ${UNIT}`, "ask as root, or look with systemctl status tradingbot")];
  const unit = new Map(answer.split("\n").map((line) => [line.split("=")[0], line.slice(line.indexOf("=") + 1)]));
  if (unit.get("LoadState") !== "loaded")
    return [
      warning(
        "unit",
        `${UNIT} is not installed (${unit.get("LoadState") ?? "unknown"}): nothing starts the daemon at boot or after its death`,
        "supervisor install",
      ),
    ];
  const findings = [runsFinding(unit, daemon)];
  if (!["enabled", "enabled-runtime", "static", "generated"].includes(unit.get("UnitFileState") ?? ""))
    findings.push(warning("unit", "it is not started at boot", "systemctl enable tradingbot"));
  if (unit.get("NeedDaemonReload") === "yes")
    findings.push(
      warning("unit", "its file was changed, and systemd still goes by the old one", "systemctl daemon-reload"),
    );
  if (unit.get("Delegate") !== "yes")
    findings.push(
      warning(
        "unit",
        "Delegate= is off: systemd may take the bots' cgroups away, and limits are not enforced",
        "Delegate=yes",
      ),
    );
  if (unit.get("KillMode") !== "process")
    findings.push(
      warning(
        "unit",
        `KillMode=${unit.get("KillMode") ?? ""}: a daemon that dies takes its bots along, none is adopted`,
        "KillMode=process together with the ExecStopPost= of config/systemd/tradingbot.service",
      ),
    );
  return findings;
}

function runsFinding(unit: ReadonlyMap<string | undefined, string>, daemon: number | undefined): Finding {
  const state = unit.get("ActiveState") ?? "unknown";
  const main = Number(unit.get("MainPID") ?? 0);
  if (daemon !== undefined && daemon !== main)
    return warning(
      "unit",
      `the daemon (pid ${daemon}) does not run as ${UNIT}, which is ${state}: nothing starts it again when it dies`,
      `end it (kill ${daemon}), then systemctl start tradingbot`,
    );
  if (state === "failed")
    return warning(
      "unit",
      "it has failed, and its bots are not watched",
      "journalctl -u tradingbot; then systemctl start tradingbot",
    );
  return ok("unit", `${UNIT} is ${state}${main > 0 ? ` with pid ${main}` : ""}`);
}

function journaldFinding(there: boolean): Finding {
  if (there) return ok("journald", "takes the output of bots with output.to: journal");
  return warning("journald", "does not run here: output.to: journal falls back to the log file", "output.to: file");
}
