/**
 * What a venue says of the account and the key behind it, where ccxt has no common word for it: rights, id, equity, transfers.
 * A venue that is not in here says nothing: `undefined`, never a guess. Fields are those of the venues' references.
 */
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";

/** Rights of the key; `undefined`: the venue does not tell. */
interface KeyRights {
  readonly trade: boolean | undefined;
  readonly withdraw: boolean | undefined;
}

export interface AccountFacts {
  readonly rights: ((exchange: VenueExchange) => Promise<KeyRights>) | undefined;
  readonly uid: ((exchange: VenueExchange) => Promise<string | undefined>) | undefined;
}

/** Rows of one page of transfers; an account that has more in a day cannot be judged. */
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
};

const OKX: AccountFacts = {
  rights: async (exchange) => {
    const perm = text((await okxConfig(exchange))["perm"]);
    const rights = perm?.split(",").map((each) => each.trim());
    return { trade: rights?.includes("trade"), withdraw: rights?.includes("withdraw") };
  },
  uid: async (exchange) => text((await okxConfig(exchange))["uid"]),
};

const NOTHING: AccountFacts = { rights: undefined, uid: undefined };

export function accountFactsOf(exchange: string): AccountFacts {
  if (exchange === "binanceusdm") return BINANCE;
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

function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
