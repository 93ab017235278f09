/**
 * The config, as a zod schema: the only source of its types, defaults, validation, JSON Schema and reference page.
 * Names and defaults are those of the contract. What the program does not do is not here, so that it is refused.
 */
import * as z from "zod";
import { duration, size } from "../../../core/quantities.ts";
import { backoffFields, budgetSchema } from "../../../core/restart-schema.ts";
import { COMPRESSIONS, MAX_KEEP, OUTPUT_TARGETS } from "../../../core/output-log.ts";
import { EXCHANGE_IDS } from "../../../core/exchange-ids.ts";
import { limitsSchema } from "../../../core/limits.ts";
import { listenAddress } from "../../../core/listen.ts";
import { tag } from "../../../core/tag.ts";
import { probeSchema } from "../../../probes/index.ts";
import { checkBackups } from "./backup-rules.ts";
import { FREE_ENV_NAME } from "./env-file.ts";
import { backupsSchema } from "./backup-schema.ts";
import { checkDriver } from "./emergency-rules.ts";
import { guardFields } from "./guard-schema.ts";
import { checkAccounts, checkBot, checkLimits, checkListener, checkOrder, checkProbe, checkRestart } from "./rules.ts";

// Compiled checks pay off after thousands of uses; here each schema is used once or twice, and a start waits for the compiler.
z.config({ jitless: true });

/** Rules across fields run even when a field is wrong by itself, so that all errors show at once; they guard their input. */
const always = { when: () => true };

/** Signals a bot may be asked to stop with; SIGSTOP and SIGCONT stop nothing for good. */
const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGKILL"] as const;

/** Text for execve(2), chdir(2) or open(2), which end it at the first NUL character. */
const text = () => z.string().regex(/^[^\0]*$/, "a NUL character cannot be passed on; remove it");
const filled = () => text().min(1);

const path = () =>
  filled().regex(/^(?!~)/, '"~" is not expanded here; write ${HOME} in its place, or an absolute path');

const envName = () =>
  z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      "a variable name is letters, digits and underscores, not beginning with a digit",
    );

const ownEnvName = () => envName().regex(FREE_ENV_NAME, "the supervisor sets this variable itself; remove it");

/** An account names a lock file. */
const MAX_ACCOUNT_CHARS = 64;

const argv = () => z.array(text()).min(1);
const command = () =>
  tag(
    argv().refine((words) => words[0] !== "", { path: [0], error: "the program is empty; name one" }),
    "first word",
  );

const positive = () =>
  tag(
    duration().refine((ms) => ms > 0, { error: "must be longer than 0s" }),
    "positive",
  );

const restartSchema = z
  .strictObject({
    policy: z
      .enum(["always", "on-failure", "never"])
      .default("always")
      .describe("When an ended bot is started again; on-failure: unless it exited with code 0."),
    ...backoffFields,
    resetAfter: positive().prefault("10m").describe("Healthy running after which the delay starts from base again."),
    ...budgetSchema.shape,
    haltExitCodes: z
      .array(z.int().min(0).max(255))
      .default([78])
      .describe("Exit codes after which the bot is halted instead of restarted; 78 is EX_CONFIG of sysexits.h."),
  })
  .superRefine(checkRestart, always);

/** Below this a bot that writes much would keep a worker busy all the time. */
const MIN_OUTPUT_BYTES = 64 * 1024;

const outputSchema = z.strictObject({
  to: z
    .enum(OUTPUT_TARGETS)
    .default("file")
    .describe(
      "Where the output goes: the log file, systemd's journal under the name tradingbot-NAME, or the supervisor's own output (for containers). The keys below belong to the file alone.",
    ),
  maxSize: tag(
    size().refine((bytes) => bytes >= MIN_OUTPUT_BYTES, { error: "must be at least 64KiB" }),
    "output size",
  )
    .prefault("100MiB")
    .describe("Size of the log file from which on its older part is moved into a segment."),
  maxAge: positive().optional().describe("Age from which on the log file is rotated whatever its size; default: none."),
  keep: z
    .int()
    .min(1)
    .max(MAX_KEEP)
    .default(30)
    .describe("Rotated segments kept; also the last words of ended starts."),
  compress: z.enum(COMPRESSIONS).default("zstd").describe("How segments are packed."),
});

const dumpSchema = z.strictObject({
  enabled: z.boolean().default(true).describe("Make a crash dump when the bot ends badly."),
  keep: z.int().min(1).max(1_000).default(30).describe("Crash dumps kept of this bot."),
  maxTotal: size().prefault("1GiB").describe("Size of all crash dumps of this bot above which the oldest go."),
  maxAge: positive().prefault("30d").describe("Age at which a crash dump goes; the newest stays."),
  minFree: size().prefault("2GiB").describe("Free space of the state folder's disk below which none is made."),
  minFreeRatio: z
    .number()
    .min(0)
    .max(0.5)
    .default(0.05)
    .describe("The same as a share of the disk; the larger counts."),
  stack: z
    .enum(["auto", "node-cdp", "abrt", "quit", "none"])
    .default("auto")
    .describe("How a bot that is to be ended is asked for its stack; auto: as its language has it; none: not at all."),
});

const keyFile = (what: string) => path().optional().describe(`File that holds ${what} and nothing else.`);
const keyEnv = (what: string) =>
  envName().optional().describe(`Variable in the supervisor's own environment that holds ${what}.`);

const asset = () => z.string().regex(/^[A-Z0-9]{1,20}$/, "is not an asset; write it in capitals as BTC or USDT");

const emergencySchema = z
  .strictObject({
    closeAfter: positive()
      .prefault("300s")
      .describe("Longest time without a healthy bot before positions are closed, whatever the restarts do."),
    onGiveUp: z.boolean().default(true).describe("Close positions at once when the restart budget is spent."),
    driver: z
      .enum(["ccxt", "exec", "webhook"])
      .default("ccxt")
      .describe("Who speaks to the venue: ccxt, a program of yours (exec), or an address of yours (webhook)."),
    exchange: z
      .enum(EXCHANGE_IDS)
      .optional()
      .describe("ccxt id of the venue, for example binanceusdm; needed by the driver ccxt, and by it alone."),
    apiKeyFile: keyFile("the API key"),
    apiKeyEnv: keyEnv("the API key"),
    apiSecretFile: keyFile("the API secret"),
    apiSecretEnv: keyEnv("the API secret"),
    passphraseFile: keyFile("the passphrase of a venue that has one"),
    passphraseEnv: keyEnv("the passphrase of a venue that has one"),
    command: command()
      .optional()
      .describe("Of the driver exec: program and arguments, run without a shell in the bot's working folder."),
    passEnv: z
      .array(envName())
      .optional()
      .describe("Of the driver exec: variables of the supervisor's own environment that the program gets beside PATH."),
    url: z
      .url({ protocol: /^https?$/, error: "is not an address; write it as https://HOST/PATH" })
      .optional()
      .describe("Of the driver webhook: where each request is posted."),
    secretFile: path().optional().describe("Of the driver webhook: file that holds the secret which signs requests."),
    secretEnv: envName()
      .optional()
      .describe("Of the driver webhook: variable in the supervisor's own environment that holds that secret."),
    endpoint: z
      .url({ protocol: /^https?$/, error: "is not an address; write it as https://HOST or http://HOST:PORT" })
      .optional()
      .describe("Base address in place of the venue's own: a paper exchange or a proxy."),
    sandbox: z.boolean().default(false).describe("Use the venue's test network."),
    ...guardFields,
    timeout: positive().prefault("300s").describe("Time budget of one close before it goes on in slow rounds."),
    symbols: z
      .array(
        filled().regex(
          /^[^/:]+\/[^/:]+(:[^/:]+)?$/,
          "is not a symbol; write it as BTC/USDT:USDT, or BTC/USDT with spot",
        ),
      )
      .default([])
      .describe("Unified ccxt symbols to close, for example BTC/USDT:USDT; empty: the whole account."),
    maxOrders: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe("Orders executed in one run of a close at most. Default: 50, and 10 more for each position."),
    maxSlippage: z
      .string()
      .regex(/^(?!0+(\.0+)?%)\d{1,2}(\.\d+)?%$/, "is not a share of a price; write it as 2% or 0.5%")
      .transform((share) => Number(share.slice(0, -1)) / 100)
      .optional()
      .describe(
        "No order is filled further than this from the mark price, and what is left stays open. Default: no limit.",
      ),
    spot: z
      .strictObject({
        quote: asset().default("USDT").describe("What everything is sold for."),
        keep: z.array(asset()).default([]).describe("Assets that are not sold, beside the quote currency."),
        derivatives: z
          .boolean()
          .default(false)
          .describe("Positions of derivatives of the same account are closed in the same close."),
      })
      .optional()
      .describe(
        "The account trades spot: balances are sold, and positions of derivatives only with derivatives: true.",
      ),
    margin: z
      .strictObject({
        mode: z.enum(["cross", "isolated"]).describe("The one wallet of cross margin, or those of isolated pairs."),
        quote: asset()
          .optional()
          .describe(
            "Of cross margin: what is sold for and bought with. Default: USDT. An isolated pair has its own quote currency.",
          ),
        keep: z
          .array(asset())
          .default([])
          .describe("Assets that are not sold, beside the quote currency; what is owed of them is repaid."),
      })
      .optional()
      .describe(
        "The account trades on margin: what is held is sold, what is borrowed is bought back and repaid. At binance.",
      ),
  })
  .superRefine(checkDriver, always);

const botSchema = z
  .strictObject({
    command: command().describe("Program and arguments, run without a shell."),
    cwd: path().optional().describe("Working folder; default: the folder of the config file."),
    user: filled()
      .optional()
      .describe(
        "User the bot runs as, by name or quoted id; needs a supervisor that runs as root. Default: the supervisor's user.",
      ),
    env: z
      .record(ownEnvName(), text().describe("Value of the variable; quote numbers."))
      .prefault({})
      .describe("Environment variables of the bot, beside PATH, HOME and LANG."),
    envFile: path().optional().describe("File of KEY=VALUE lines as systemd's EnvironmentFile; env wins over it."),
    account: filled()
      .max(MAX_ACCOUNT_CHARS)
      .optional()
      .describe("Trading account; one live bot per account. Default: the bot's name."),
    autostart: z.boolean().default(true).describe("Start the bot together with the supervisor."),
    after: z
      .array(filled())
      .default([])
      .describe(
        "Bots that are to be ready before this one is started together with the supervisor; one that fails or takes longer than its startTimeout is not waited for. Stopped in the opposite order.",
      ),
    orphans: z
      .enum(["adopt", "stop"])
      .default("adopt")
      .describe("A bot that outlived its supervisor: go on with it untouched, or kill it and start it anew."),
    ready: z
      .enum(["started", "notify", "probe"])
      .default("started")
      .describe("What makes the bot ready: its start, READY=1 on the notify socket, or its startup probes."),
    startTimeout: positive().prefault("30s").describe("Longest time from the start to ready."),
    stopSignal: z.enum(STOP_SIGNALS).default("SIGTERM").describe("Signal that asks the bot to stop."),
    stopTimeout: duration()
      .prefault("30s")
      .describe("Time between the stop signal and SIGKILL; also the time preStop and postStop may take each."),
    preStop: command().optional().describe("Program and arguments run before the stop signal."),
    postStop: command().optional().describe("Program and arguments run after the bot is gone."),
    restart: restartSchema
      .prefault({})
      .describe("When and how fast the bot is started again, and when that is given up."),
    probes: z
      .array(tag(probeSchema.superRefine(checkProbe, always), "probe"))
      .prefault([])
      .describe("Checks of the running bot."),
    limits: tag(limitsSchema.superRefine(checkLimits, always), "limits")
      .optional()
      .describe("What the bot may use at most; what this machine cannot enforce is said at the start."),
    output: outputSchema.prefault({}).describe("Where the bot's output goes, and the rotation of its log file."),
    dump: dumpSchema
      .prefault({})
      .describe("Crash dumps: what is read of a bot that hangs or dies, for whoever looks into it."),
    emergency: emergencySchema
      .optional()
      .describe("How the account is made safe; without it positions are never closed."),
  })
  .superRefine(checkBot, always);

const botName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,31}$/,
    "a bot name is lower-case letters, digits and dashes, at most 32, beginning with a letter",
  );

const authSchema = z.strictObject({
  username: filled()
    .regex(/^[^:]*$/, "a colon cannot stand in a user name of basic authentication; remove it")
    .describe("User name of basic authentication."),
  passwordFile: path().describe("File that holds the password and nothing else; read when the supervisor starts."),
});

const listenerSchema = z
  .strictObject({
    listen: listenAddress().describe(
      'Address and port: 127.0.0.1:8001, "[::1]:8001", or :8001 for every address of the machine; port 0 lets the kernel pick one.',
    ),
    auth: authSchema
      .optional()
      .describe(
        "Who may ask; needed for an address that other machines can reach. Default: everybody on this machine.",
      ),
  })
  .superRefine(checkListener, always);

// The rules of whole sections, by name, for what is derived from this schema.
tag(restartSchema, "restart");
tag(emergencySchema, "driver");
tag(botSchema, "bot");
tag(listenerSchema, "listener");

export const configSchema = z.strictObject({
  version: z.literal(1).describe("Version of the config format: 1."),
  stateDir: path()
    .optional()
    .describe(
      "Folder of what must outlive the process; default: $STATE_DIRECTORY, else .supervisor beside the config file.",
    ),
  runtimeDir: path().optional().describe("Folder of sockets; default: $RUNTIME_DIRECTORY, else run in stateDir."),
  logDir: path().optional().describe("Folder of log files; default: $LOGS_DIRECTORY, else log in stateDir."),
  logFile: path()
    .optional()
    .describe(
      "File that the supervisor appends its events to, as lines, beside standard error; reopened when it was renamed. Default: $LOG_FILE, else none.",
    ),
  control: z
    .strictObject({
      group: filled()
        .optional()
        .describe("Group that may use the control socket; default: the supervisor's own group."),
    })
    .prefault({})
    .describe("The control socket."),
  http: listenerSchema
    .optional()
    .describe(
      "Serves /livez, /readyz, /health and, at /, a page with the status; default: $API_HOST and $API_PORT, else off.",
    ),
  metrics: listenerSchema.optional().describe("Serves /metrics for Prometheus; default: off."),
  emergencyFile: path()
    .optional()
    .describe("A file whose appearance closes the positions of every bot; default: emergency in runtimeDir."),
  bots: tag(
    tag(z.record(botName, botSchema).superRefine(checkAccounts, always), "accounts").superRefine(checkOrder, always),
    "order",
  ).describe("The bots, by name."),
  backups: tag(backupsSchema.superRefine(checkBackups, always), "backups")
    .optional()
    .describe("What is backed up, when and where; default: nothing."),
});

export type ConfigInput = z.output<typeof configSchema>;
export type BotInput = z.output<typeof botSchema>;
export type ListenerConfig = z.output<typeof listenerSchema>;
export type EmergencyConfig = z.output<typeof emergencySchema>;
