/**
 * What the daemon and the close-positions worker say to each other.
 *
 * The job goes to the worker as one JSON line on its standard input (secrets travel there and nowhere else);
 * the worker answers on descriptor 3 with NDJSON: any number of `progress` lines, then one `result` line.
 */
import * as z from "zod";
import { closeGoalSchema } from "./close-goal.ts";
import { closeStyleSchema } from "./close-style.ts";
import { later } from "./later.ts";

/** `emergency close` exit codes; the contract's numbers. */
export const CLOSE_EXIT = {
  flat: 0,
  cancelled: 0,
  reduced: 0,
  residual: 10,
  foreign: 11,
  refused: 12,
  keyRefused: 13,
  unreadable: 14,
  unsupported: 15,
  internal: 16,
  planNotEmpty: 20,
} as const;
export type CloseOutcome = keyof typeof CLOSE_EXIT;
const outcomes = later(() =>
  z.enum([
    "flat",
    "cancelled",
    "reduced",
    "residual",
    "foreign",
    "refused",
    "keyRefused",
    "unreadable",
    "unsupported",
    "internal",
    "planNotEmpty",
  ] satisfies readonly CloseOutcome[]),
);

/** A worker waits for the account's lock as long as another close may have it: that one's budget and this, ms. */
export const LOCK_GRACE_MS = 60_000;
/** After its budget a close has this for the quiet period (15 s), the last call (6 s) and the report; then every call is aborted, ms. */
export const CLOSE_OVERTIME_MS = 25_000;

/** Longest time from the start of a worker to its report, ms: it waits for the lock, then it closes. The daemon's deadline must be above it. */
export function longestCloseMs(timeoutMs: number): number {
  return timeoutMs + LOCK_GRACE_MS + timeoutMs + CLOSE_OVERTIME_MS;
}

/** What every driver is told. */
const scopeFields = later(() => ({
  /** Unified symbols to close; empty: the whole account. */
  symbols: z.array(z.string()),
  /** Budget of the fast loop, ms. */
  timeoutMs: z.number().int().positive(),
}));

const ccxtSchema = later(() =>
  z.strictObject({
    /** Absent: ccxt. */
    driver: z.undefined().optional(),
    exchange: z.string().describe("ccxt id of the venue, for example binanceusdm."),
    endpoint: z.string().optional().describe("Base address that replaces the venue's own."),
    sandbox: z.boolean(),
    ...scopeFields,
    apiKey: z.string(),
    apiSecret: z.string(),
    passphrase: z.string().optional(),
    /** Id that the account must have at the venue; absent: any. */
    uid: z.string().optional(),
    /** Where a preflight keeps the venue's markets. */
    marketsFile: z.string().optional(),
    /** Balances are sold for `quote`, all but those of `keep`; absent: positions of derivatives are closed. `derivatives`: both are. */
    spot: z
      .strictObject({ quote: z.string(), keep: z.array(z.string()), derivatives: z.boolean().optional() })
      .optional(),
    /** Wallets of cross or isolated margin are closed in their place; of isolated ones each pair has a quote currency of its own. */
    margin: z
      .strictObject({ mode: z.enum(["cross", "isolated"]), quote: z.string().optional(), keep: z.array(z.string()) })
      .optional(),
  }),
);
export type CcxtAccess = z.output<typeof ccxtSchema>;

const execSchema = later(() =>
  z.strictObject({
    driver: z.literal("exec"),
    /** What reports call the venue. */
    exchange: z.string(),
    ...scopeFields,
    command: z.array(z.string()).min(1),
    cwd: z.string(),
    /** Its whole environment; may hold secrets. */
    env: z.record(z.string(), z.string()),
  }),
);
export type ExecAccess = z.output<typeof execSchema>;

const webhookSchema = later(() =>
  z.strictObject({
    driver: z.literal("webhook"),
    exchange: z.string(),
    ...scopeFields,
    url: z.string(),
    /** Signs each request. */
    secret: z.string(),
  }),
);
export type WebhookAccess = z.output<typeof webhookSchema>;
export type HookAccess = ExecAccess | WebhookAccess;

const venueSchema = later(() => z.union([ccxtSchema, execSchema, webhookSchema]));
export type VenueAccess = z.output<typeof venueSchema>;

const triggerSchema = later(() =>
  z.enum(["giveUp", "closeAfter", "operator", "probe", "file", "signal", "environment", "exposure", "dailyLoss"]),
);
const triggersSchema = later(() => z.array(triggerSchema));

export const closeJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    /** `plan` reads and answers what would be closed; `close` closes. */
    mode: z.enum(["plan", "close"]),
    /** What the close is to reach; absent: a flat account. */
    goal: closeGoalSchema.optional(),
    /** How a close for a limit begins; absent: at the market. */
    style: closeStyleSchema.optional(),
    /** Id of the incident: lower-case letters and digits, at most 12; client order ids derive from it. */
    incident: z.string().regex(/^[a-z0-9]{6,12}$/),
    trigger: triggerSchema,
    /** What the trigger found, in a sentence; absent: nothing more than its name says. */
    cause: z.string().optional(),
    /** What else asked for a close since the incident was opened, in this order; absent: nothing. */
    later: triggersSchema.optional(),
    bot: z.string(),
    account: z.string(),
    /** Folder of the bot's incidents: `ID.ndjson` is the close journal, `ID.json` the report. */
    incidentsDir: z.string(),
    /** Lock file of the account: whoever holds its flock is the one close of the account. */
    accountLock: z.string(),
    /** Marks by which a living process of the bot is recognised; the worker refuses (12) while one lives. */
    fence: z.strictObject({
      /** NAME=VALUE pairs looked for in /proc/PID/environ. */
      environ: z.array(z.string()),
      /** cgroup folders that must be empty: the bot's, and the one that an earlier supervisor gave it. */
      cgroups: z.array(z.string()),
      /** Main processes of the last starts; pid and kernel start time together name one process. */
      processes: z.array(z.strictObject({ pid: z.int(), startTicks: z.number() })),
    }),
    venue: venueSchema,
    /** Stands beside the driver ccxt, for what that one cannot close. */
    hook: z.union([execSchema, webhookSchema]).optional(),
    /** What a run may do at most; absent: as the plan has it. */
    bounds: z
      .strictObject({
        /** Orders executed. */
        maxOrders: z.int().positive().optional(),
        /** Distance of a fill from the mark price, as ratio. */
        maxSlippage: z.number().positive().optional(),
      })
      .optional(),
  }),
);
export type CloseJob = z.output<typeof closeJobSchema>;

/*
 * What follows is written by a worker, which is of the version on the disk: until an upgrade a newer one may say more than this
 * daemon knows, and no report may be lost for that.
 */

const positionSchema = later(() =>
  z.object({
    symbol: z.string(),
    side: z.enum(["long", "short"]),
    /** Size in base currency or contracts, as the venue counts; always positive. */
    amount: z.number(),
    /** Notional value in quote currency when the venue tells it. */
    notional: z.number().optional(),
    hedged: z.boolean(),
    /** Short because it is borrowed on margin: bought back, or, of the quote currency, repaid from what is sold. */
    owed: z.enum(["base", "quote"]).optional(),
  }),
);
export type Position = z.output<typeof positionSchema>;

const sentOrderSchema = later(() =>
  z.object({
    /** Client order id, derived from the incident. */
    id: z.string(),
    symbol: z.string(),
    side: z.enum(["buy", "sell"]),
    positionSide: z.enum(["long", "short"]),
    amount: z.number(),
    /** Who closed in place of an order of ours: the venue by itself, or the hook; absent: an order of ours. */
    by: z.enum(["venue", "hook"]).optional(),
    /** It repaid a loan of this asset and was no order; absent: an order. */
    repay: z.string().optional(),
    /** It waited at this price, the near side of the book; absent: it did not wait. */
    restedAt: z.number().optional(),
    filled: z.number().optional(),
    average: z.number().optional(),
    /** Price of the position in the reading that the order was planned on; absent where the venue told none. */
    reference: z.number().optional(),
    /** What the fill cost against `reference`, in quote currency; negative: it was better. Absent where it is not known. */
    slippage: z.number().optional(),
    outcome: z.enum(["accepted", "rejected", "unknown"]),
    error: z.string().optional(),
    sentAt: z.string(),
    ackMs: z.number(),
  }),
);
export type SentOrder = z.output<typeof sentOrderSchema>;

const loanSchema = later(() =>
  z.object({
    /** The asset, and the pair whose wallet owes it where that is isolated. */
    symbol: z.string(),
    /** Interest included. */
    amount: z.number(),
    /** What there is to repay it with. */
    covered: z.number(),
  }),
);
export type OwedLoan = z.output<typeof loanSchema>;

/**
 * `loans`: those of margin wallets that something is left to repay with; absent: none. `notional`: sum of the positions' notionals, in
 * quote currency; absent: that of one is not known.
 */
const holdingsSchema = later(() =>
  z.object({
    positions: z.array(positionSchema),
    orders: z.number(),
    notional: z.number().optional(),
    loans: z.array(loanSchema).optional(),
  }),
);

export const closeReportSchema = later(() =>
  z.object({
    version: z.literal(1),
    incident: z.string(),
    bot: z.string(),
    account: z.string(),
    trigger: closeJobSchema.shape.trigger,
    /** What the trigger found. Absent in older reports. */
    cause: z.string().optional(),
    /** What else asked for a close since the incident was opened, in this order; absent: nothing. */
    later: triggersSchema.optional(),
    mode: closeJobSchema.shape.mode,
    /** What was to be reached; absent: a flat account. */
    goal: closeGoalSchema.optional(),
    /** What the runs of the incident were to reach, in their order, this one last; absent: all the same. */
    goals: z.array(closeGoalSchema).optional(),
    /** Mode `plan`: the parts of positions that would be closed, and how many orders would be cancelled; absent: all of `before`. */
    planned: z.object({ positions: z.array(positionSchema), orders: z.number() }).optional(),
    /** Orders waited at the touch before they went to the market; absent: they did not. */
    style: closeStyleSchema.optional(),
    exchange: z.string(),
    /** The unified symbols that were looked at; absent: the whole account. Everything below speaks of these only. */
    scope: z.array(z.string()).optional(),
    outcome: outcomes,
    /** One sentence for people: what happened and what to do next. */
    reason: z.string(),
    /** Of the first run. */
    startedAt: z.string(),
    /** Of the last run. */
    durationMs: z.number(),
    rounds: z.number(),
    calls: z.number(),
    /** The venue itself was read and showed no position and no order, of `scope` if there is one. */
    verified: z.boolean(),
    quietMs: z.number(),
    before: holdingsSchema.nullable(),
    after: holdingsSchema.nullable(),
    orders: z.array(sentOrderSchema),
    /** Positions smaller than the venue's lot, left open and harmless. */
    dust: z.array(positionSchema),
    /** Positions or orders that appeared after the account was flat and are not ours. */
    foreign: z.array(z.string()),
    /** Ids of orders whose fate the venue never told; the positions after them are what counts. Absent in older reports. */
    unknown: z.array(z.string()).optional(),
    /** Sum of the known slippages, quote currency; absent where none is known. */
    slippage: z.number().optional(),
    /** What was done when; of the last run. Absent in older reports. */
    timeline: z.array(z.object({ at: z.string(), text: z.string() })).optional(),
    endedAt: z.string().optional(),
    /** What a person does next. Absent in older reports. */
    next: z.string().optional(),
    /** Errors by class, counted. */
    errors: z.record(z.string(), z.number()),
    fence: z.object({
      proven: z.boolean(),
      /** By what the bot's processes were known: the kernel's list of its cgroup, or marks in the environment of all. Absent in older reports. */
      method: z.enum(["cgroup", "environment"]).optional(),
      pids: z.array(z.number()),
      ms: z.number(),
    }),
  }),
);
export type CloseReport = z.output<typeof closeReportSchema>;

const unwrittenSchema = later(() =>
  z.object({
    /** Lines of the incident's journal that the disk has not taken, the oldest first, without their newlines. */
    lines: z.array(z.string()),
    /** It has not taken the report either. */
    report: z.boolean(),
  }),
);
export type Unwritten = z.output<typeof unwrittenSchema>;

/** A line that the worker writes to descriptor 3. */
export const workerLineSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("progress"),
      state: z.enum(["fencing", "closing", "quiet"]),
      text: z.string().describe("What is being done, for people."),
    }),
    z.object({ kind: z.literal("result"), report: closeReportSchema }),
    /** After the result of each run that had a journal; several where there are many lines. */
    unwrittenSchema.extend({ kind: z.literal("unwritten") }),
  ]),
);
export type WorkerLine = z.output<typeof workerLineSchema>;
