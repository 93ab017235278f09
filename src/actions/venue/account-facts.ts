/**
 * What a venue says of the account and the key behind it, where ccxt has no common word for it: rights, id, equity, transfers.
 * A venue that is not in here says nothing: `undefined`, never a guess. Fields are those of the venues' references.
 */
import type { CcxtAccess } from "../../core/close-job.ts";
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";

/** Rights of the key; `undefined`: the venue does not tell. */
interface KeyRights {
  readonly trade: boolean | undefined;
  readonly withdraw: boolean | undefined;
}

/** What the account is worth and what was moved, in dollars or coins that stand for one. */
interface Money {
  /** Unrealised profit included; `undefined`: not told. */
  readonly equity: (exchange: VenueExchange) => Promise<number | undefined>;
  /** What came in less what went out since a time, ms since 1970; `undefined` when that cannot be told. */
  readonly transfers: (exchange: VenueExchange, sinceMs: number) => Promise<number | undefined>;
}

interface AccountFacts {
  readonly money: Money | undefined;
  readonly rights: ((exchange: VenueExchange) => Promise<KeyRights>) | undefined;
  readonly uid: ((exchange: VenueExchange) => Promise<string | undefined>) | undefined;
}

/** Coins that stand for a dollar each. */
const DOLLARS: ReadonlySet<unknown> = new Set(["USD", "USDT", "USDC", "FDUSD", "BUSD"]);
/** Rows of one page of transfers; an account that has more in a day cannot be judged. */
const BINANCE_ROWS = 1_000;
const OKX_ROWS = 100;
const BINANCE_TRANSFERS = ["TRANSFER", "INTERNAL_TRANSFER"];

const BINANCE: AccountFacts = {
  rights: async (exchange) => {
    const answer = asRecord(await ask(exchange, "sapiGetAccountApiRestrictions"));
    return { trade: flag(answer["enableFutures"]), withdraw: flag(answer["enableWithdrawals"]) };
  },
  // The futures interface names an account by its alias alone.
  uid: async (exchange) => {
    const answer = await ask(exchange, "fapiPrivateV3GetBalance");
    const rows: readonly unknown[] = Array.isArray(answer) ? answer : [];
    return text(asRecord(rows[0])["accountAlias"]);
  },
  money: {
    equity: async (exchange) => numeric(asRecord(await ask(exchange, "fapiPrivateV3GetAccount"))["totalMarginBalance"]),
    transfers: async (exchange, startTime) => {
      let sum = 0;
      for (const incomeType of BINANCE_TRANSFERS) {
        const params = { incomeType, startTime, limit: BINANCE_ROWS };
        // Safe: two pages, one after the other.
        // oxlint-disable-next-line no-await-in-loop
        const moved = addUp(
          rowsOf(await ask(exchange, "fapiPrivateGetIncome", params)),
          BINANCE_ROWS,
          "income",
          "asset",
        );
        if (moved === undefined) return undefined;
        sum += moved;
      }
      return sum;
    },
  },
};

const OKX: AccountFacts = {
  rights: async (exchange) => {
    const perm = text((await okxConfig(exchange))["perm"]);
    const rights = perm?.split(",").map((each) => each.trim());
    return { trade: rights?.includes("trade"), withdraw: rights?.includes("withdraw") };
  },
  uid: async (exchange) => text((await okxConfig(exchange))["uid"]),
  money: {
    equity: async (exchange) => {
      const { data } = asRecord(await ask(exchange, "privateGetAccountBalance"));
      return numeric(asRecord(rowsOf(data)[0])["totalEq"]);
    },
    transfers: async (exchange, sinceMs) => {
      const params = { type: "1", begin: String(sinceMs), limit: String(OKX_ROWS) };
      const { data } = asRecord(await ask(exchange, "privateGetAccountBills", params));
      return addUp(rowsOf(data), OKX_ROWS, "balChg", "ccy");
    },
  },
};

/** A key that only reads has its rights listed all the same. */
const BYBIT: AccountFacts = {
  rights: async (exchange) => {
    const { result } = asRecord(await ask(exchange, "privateGetV5UserQueryApi"));
    const { readOnly, permissions } = asRecord(result);
    const { ContractTrade: contracts, Derivatives: derivatives, Wallet: wallet } = asRecord(permissions);
    if (!Array.isArray(contracts) || !Array.isArray(wallet)) return { trade: undefined, withdraw: undefined };
    const writes = numeric(readOnly) === 0;
    const orders = contracts.includes("Order") || rowsOf(derivatives).includes("DerivativesTrade");
    return { trade: writes && orders, withdraw: writes && wallet.includes("Withdraw") };
  },
  uid: undefined,
  money: undefined,
};

/** The spot wallet; its worth would need a price of every asset. */
const BINANCE_SPOT: AccountFacts = {
  rights: async (exchange) => {
    const answer = asRecord(await ask(exchange, "sapiGetAccountApiRestrictions"));
    return { trade: flag(answer["enableSpotAndMarginTrading"]), withdraw: flag(answer["enableWithdrawals"]) };
  },
  uid: async (exchange) => {
    const { uid } = asRecord(await ask(exchange, "privateGetAccount"));
    return typeof uid === "number" ? String(uid) : text(uid);
  },
  money: undefined,
};

/** Binance lets a key trade on margin and repay loans only with both rights. */
const BINANCE_MARGIN: AccountFacts = {
  ...BINANCE_SPOT,
  rights: async (exchange) => {
    const answer = asRecord(await ask(exchange, "sapiGetAccountApiRestrictions"));
    const [trades, loans] = [flag(answer["enableSpotAndMarginTrading"]), flag(answer["enableMargin"])];
    const trade = trades === undefined || loans === undefined ? undefined : trades && loans;
    return { trade, withdraw: flag(answer["enableWithdrawals"]) };
  },
};

const NOTHING: AccountFacts = { rights: undefined, uid: undefined, money: undefined };

/** What a close reads of the account beside its positions, as the job names it. */
export function accountFactsOf({
  exchange,
  spot,
  margin,
}: Pick<CcxtAccess, "exchange" | "spot" | "margin">): AccountFacts {
  if (exchange === "binance" && margin !== undefined) return BINANCE_MARGIN;
  if (exchange === "binance" && spot !== undefined) return BINANCE_SPOT;
  if (exchange === "binanceusdm") return BINANCE;
  if (exchange === "bybit" && spot === undefined) return BYBIT;
  return exchange === "okx" || exchange === "okxus" || exchange === "myokx" ? OKX : NOTHING;
}

async function okxConfig(exchange: VenueExchange): Promise<Record<string, unknown>> {
  const { data } = asRecord(await ask(exchange, "privateGetAccountConfig"));
  const rows: readonly unknown[] = Array.isArray(data) ? data : [];
  return asRecord(rows[0]);
}

/** Calls one of the methods that ccxt makes of a venue's own interface. Throws as ccxt does, and when there is none of that name. */
export async function ask(
  exchange: VenueExchange,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const call: unknown = Reflect.get(exchange, method);
  if (typeof call !== "function") throw new TypeError(`ccxt has no ${method} for ${exchange.id}`);
  const answer: unknown = await Reflect.apply(call, exchange, [params]);
  return answer;
}

function rowsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Sum of a field over rows in dollars; `undefined` for a full page, which may not be all, and for any other coin. */
function addUp(rows: readonly unknown[], most: number, field: string, coin: string): number | undefined {
  if (rows.length >= most) return undefined;
  let sum = 0;
  for (const row of rows.map(asRecord)) {
    const amount = numeric(row[field]);
    if (amount === undefined || !DOLLARS.has(row[coin])) return undefined;
    sum += amount;
  }
  return sum;
}

function numeric(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
