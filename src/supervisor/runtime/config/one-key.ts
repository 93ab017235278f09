/** Do two bots trade on one account? By its name in the config they do not; by the key that opens it they may. */

import { deadmanSwitchOf } from "../../../core/deadman.ts";

/** What of an `emergency` section tells where its close reaches. */
interface Reach {
  readonly exchange?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly sandbox?: boolean;
  readonly symbols?: readonly string[] | undefined;
  readonly spot?: { readonly derivatives?: boolean } | undefined;
  readonly margin?: { readonly mode: string } | undefined;
  readonly deadman?: unknown;
}

/** What is wrong with two bots whose keys are one. */
export function sharedKeyMistake(one: string, other: string): string {
  return `bots "${one}" and "${other}" have one key, and so one account: the emergency of one would close what the other trades; give each the key of an account of its own, or both symbols of their own and, where the venue has one dead-man switch for the account, none of it`;
}

/** Whether, with one key, the closes of two `emergency` sections would meet. */
export function closesSame(one: Reach, other: Reach): boolean {
  if (one.endpoint !== other.endpoint || (one.sandbox ?? false) !== (other.sandbox ?? false)) return false;
  const [mine, theirs] = [walletsOf(one), new Set(walletsOf(other))];
  if (!mine.some((wallet) => theirs.has(wallet))) return false;
  // One countdown for the account: a bot that lives would keep it from firing for the other, one that stops would end it for both.
  const armed = one.deadman !== undefined || other.deadman !== undefined;
  if (armed && deadmanSwitchOf(one.exchange ?? "")?.per === "account") return true;
  const [ours, closed] = [one.symbols ?? [], new Set(other.symbols)];
  const apart = ours.length > 0 && closed.size > 0 && !ours.some((symbol) => closed.has(symbol));
  return !apart;
}

/** The wallets that a close touches; one key opens several at one venue. None of a driver that has no key. */
function walletsOf({ exchange, spot, margin }: Reach): string[] {
  if (exchange === undefined) return [];
  if (margin !== undefined) return [`${margin.mode} margin of ${exchange}`];
  // ccxt's binance trades the contracts that its binanceusdm trades.
  const contracts = `contracts of ${exchange === "binance" ? "binanceusdm" : exchange}`;
  if (spot === undefined) return [contracts];
  return spot.derivatives === true ? [`spot of ${exchange}`, contracts] : [`spot of ${exchange}`];
}
