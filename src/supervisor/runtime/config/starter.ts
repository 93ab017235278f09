/** The config that `supervisor config init` writes: it passes `config check` as it is and says what to change first. */
import type { Dirs } from "./paths.ts";

/** A commented starter with one bot that only counts; every line of it is valid. */
export function starterConfig(): string {
  return STARTER;
}

/** The same for a machine where a service manager has given the daemon `folders`, with a backup of this config, which lies at `file`. */
export function installedStarterConfig(folders: Dirs, file: string): string {
  const named = Object.entries(folders).map(([key, path]) => `${key}: ${path}`);
  const [head = "", tail = ""] = STARTER.split(FOLDERS);
  return [head, FOLDERS_NAMED, ...named.map((line) => `${line}\n`), tail, backupsOf(folders.stateDir, file)].join("");
}

const FOLDERS_NAMED = "# Folders of the unit; named, so that commands typed in a shell find them, too.\n";

function backupsOf(stateDir: string, file: string): string {
  return `
# Add the databases of your bots, and a bucket: docs/backup.md.
backups:
  stores:
    local: { kind: directory, path: ${stateDir}/backups }
  targets:
    config: { kind: files, paths: [${file}], schedule: "@daily" }
`;
}

const FOLDERS = `# State, sockets and logs go to .supervisor beside this file, unless you say otherwise:
# stateDir: /var/lib/tradingbot
# runtimeDir: /run/tradingbot
# logDir: /var/log/tradingbot
`;

const STARTER = `# Supervisor: keeps the bots below alive, and closes their positions when it cannot.
#
#   supervisor config check      is this file right?
#   supervisor config show       the same with every default filled in
#   supervisor run               start; then, in another terminal: supervisor status
#
# Durations: 250ms, 30s, 5m, 2h, 1d. Paths are relative to this file. \${NAME} and \${NAME:-default} in a value
# are replaced from the environment; for a shell's own \${…} write $\${…}.

version: 1

${FOLDERS}
bots:
  # The name of the bot: lower-case letters, digits and dashes.
  counter:
    # 1. Your bot's program and arguments, run without a shell. This one counts into its log file:
    #    supervisor logs counter -f
    command: [sh, -c, 'n=0; while sleep 5; do n=$((n + 1)); echo "tick $n"; done']

    # 2. Where it runs, and what it gets beside PATH, HOME and LANG.
    # cwd: /opt/counter
    # env: { LOG_LEVEL: info }
    # envFile: counter.env

    # 3. When it is started again. More than 5 restarts in 10 minutes: the supervisor gives up and goes to step 5.
    restart:
      policy: always
      base: 1s
      cap: 60s
      intensity: 5
      period: 10m

    # 4. How the supervisor knows that it is alive. A bot that hangs still has a process, so give it a heartbeat as
    #    soon as it can send one (WATCHDOG=1 to $NOTIFY_SOCKET, or POST /v1/heartbeat to $SUPERVISOR_SOCKET).
    probes:
      - kind: resources
        maxRss: 1GiB
      # - kind: heartbeat
      #   timeout: 60s
      # - kind: progress
      #   timeout: 5m
      # - kind: http
      #   url: http://127.0.0.1:8080/health

    # 5. How its account is made safe when it cannot be kept alive. Put key and secret into files of their own
    #    (chmod 600), remove the "# " of these lines, and look before you rely on it: supervisor emergency plan counter
    # emergency:
    #   closeAfter: 5m # without a healthy bot for this long, positions are closed
    #   onGiveUp: true # and at once when the restarts above are spent
    #   exchange: binanceusdm # ccxt id
    #   apiKeyFile: exchange.key
    #   apiSecretFile: exchange.secret
    #   sandbox: true # the venue's test network; remove it for the real account
`;
