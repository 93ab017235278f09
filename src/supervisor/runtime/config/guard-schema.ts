/** The keys of an emergency section that are about quiet days: whose account it is, and the preflight that proves the way out. */
import * as z from "zod";
import { closeStyleSchema } from "../../../core/close-style.ts";
import { duration } from "../../../core/quantities.ts";
import { lossLimitSchema } from "../../../core/exposure.ts";
import { tag } from "../../../core/tag.ts";
import { checkAccountLimits, checkDeadman, checkHook, checkTestnetKeys } from "./emergency-rules.ts";

const text = () => z.string().regex(/^[^\0]+$/, "an empty text or one with a NUL character is no use here");
const path = () => text().regex(/^(?!~)/, '"~" is not expanded here; write ${HOME} in its place, or an absolute path');
const keyFile = (what: string) => path().optional().describe(`File that holds ${what} of the test network.`);
const variable = () =>
  z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      "a variable name is letters, digits and underscores, not beginning with a digit",
    );
const keyEnv = (what: string) =>
  variable()
    .optional()
    .describe(`Variable in the supervisor's own environment that holds ${what} of the test network.`);

/** A preflight more often than this would only cost the venue's limits. */
const MIN_PREFLIGHT_MS = 60_000;

const preflightSchema = z.strictObject({
  period: tag(
    duration().refine((ms) => ms >= MIN_PREFLIGHT_MS, { error: "must be at least 1m" }),
    "preflight period",
  )
    .prefault("1d")
    .describe("Time between two preflights; a failed one is repeated after 15m, or after period if that is shorter."),
  jitter: duration()
    .prefault("1h")
    .describe("Up to this is added to period by chance, so that bots do not all ask at once."),
  allowWithdraw: z.boolean().default(false).describe("Whether a key that may withdraw is no fault."),
});

const testnetSchema = tag(
  z
    .strictObject({
      apiKeyFile: keyFile("the API key"),
      apiKeyEnv: keyEnv("the API key"),
      apiSecretFile: keyFile("the API secret"),
      apiSecretEnv: keyEnv("the API secret"),
      passphraseFile: keyFile("the passphrase"),
      passphraseEnv: keyEnv("the passphrase"),
      endpoint: z
        .url({ protocol: /^https?$/, error: "is not an address; write it as https://HOST or http://HOST:PORT" })
        .optional()
        .describe("Base address in place of the test network's own."),
    })
    .superRefine(checkTestnetKeys, { when: () => true }),
  "testnet",
);

/** Each reading is a process of some hundred milliseconds, and costs the venue some calls. */
const MIN_PERIOD_MS = 5_000;
const MIN_REFRESH_MS = 1_000;

const limitsSchema = z
  .strictObject({
    maxExposure: z
      .number()
      .positive()
      .optional()
      .describe(
        "Most that may be open, Σ|notional| in quote currency, both legs of a hedge counted; default: no limit.",
      ),
    onExposure: z
      .enum(["reduce", "close"])
      .default("reduce")
      .describe("What becomes of the account when more is open: reduced to maxExposure, or closed."),
    style: closeStyleSchema
      .default("market")
      .describe(
        "How a close or cut for one of these limits begins: market, or limit-then-market: an order at the near side of the book first, for 3 s, at most three times.",
      ),
    maxDailyLoss: lossLimitSchema
      .optional()
      .describe(
        "Most that a UTC day may lose of the equity that its first reading showed, unrealised profit included and transfers left out: an amount, or a share such as 5%; default: no limit.",
      ),
    period: duration()
      .refine((ms) => ms >= MIN_PERIOD_MS, { error: "must be at least 5s" })
      .prefault("30s")
      .describe("Time between two readings of the account."),
    cooldown: duration().prefault("60s").describe("Time after a cut in which the exposure is not cut again."),
  })
  .superRefine(checkAccountLimits, { when: () => true });

const deadmanSchema = z
  .strictObject({
    timeout: duration().prefault("60s").describe("Time without a refresh after which the venue cancels open orders."),
    refresh: duration()
      .refine((ms) => ms >= MIN_REFRESH_MS, { error: "must be at least 1s" })
      .prefault("15s")
      .describe("Time between two refreshes; at most half of timeout."),
  })
  .superRefine(checkDeadman, { when: () => true });

const hookSchema = z
  .strictObject({
    command: z
      .array(z.string().regex(/^[^\0]*$/, "a text with a NUL character is no use here"))
      .min(1)
      .refine(([program]) => program !== "", { error: "names no program; write [PROGRAM, ARGUMENT]" })
      .optional()
      .describe(
        "Program and arguments, run without a shell in the bot's working folder, one process for each request.",
      ),
    passEnv: z
      .array(variable())
      .optional()
      .describe("Variables of the supervisor's own environment that the program gets beside PATH."),
    url: z
      .url({ protocol: /^https?$/, error: "is not an address; write it as https://HOST/PATH" })
      .optional()
      .describe("In place of command: where each request is posted."),
    secretFile: path().optional().describe("With url: file that holds the secret which signs requests."),
    secretEnv: variable()
      .optional()
      .describe("With url: variable in the supervisor's own environment that holds that secret."),
  })
  .superRefine(checkHook, { when: () => true });

export const guardFields = {
  hook: hookSchema
    .optional()
    .describe(
      "Beside the driver ccxt: a hook that closes what ccxt cannot, asked as the drivers exec and webhook are; symbols are spelled as ccxt does.",
    ),
  limits: limitsSchema
    .optional()
    .describe(
      "Limits of the account; over one the bot is killed, the account reduced or closed, and the bot locked out.",
    ),
  deadman: deadmanSchema
    .optional()
    .describe("The venue's dead-man switch, which cancels open orders when it is not refreshed; default: off."),
  uid: text()
    .optional()
    .describe(
      "Id that the venue must give the account of the key; another account is never closed. OKX: uid; Binance: accountAlias of /fapi/v3/balance.",
    ),
  preflight: preflightSchema.prefault({}).describe("The check, on quiet days, that an emergency close would work."),
  testnet: testnetSchema
    .optional()
    .describe("Keys of the venue's test network, for supervisor emergency preflight --testnet."),
};
