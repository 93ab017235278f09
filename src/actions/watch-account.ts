/**
 * One look at a bot's account for its limits, and one refresh of its dead-man switch. Sends no order and cancels none.
 *
 * A process of some hundred milliseconds: between two looks it costs no memory, and who is killed with the daemon refreshes nothing.
 */
import type { CcxtAccess } from "../core/close-job.ts";
import { deadmanRefusal, deadmanSwitchOf, planCountdowns } from "../core/deadman.ts";
import { exposureOf, inOtherMoney } from "../core/exposure.ts";
import type { Reading } from "../core/close-plan-types.ts";
import { describeFailure } from "../core/venue-error.ts";
import { watchJobSchema } from "../core/watch-job.ts";
import type { WatchAnswer, WatchJob } from "../core/watch-job.ts";
import type { Clock } from "../platform/clock.ts";
import { defineAction } from "./contract.ts";
import { runPool } from "./pool.ts";
import { accountFactsOf, ask } from "./venue/account-facts.ts";
import { BothMarkets } from "./venue/both-markets.ts";
import { CcxtVenue } from "./venue/ccxt-venue.ts";
import type { VenueOptions } from "./venue/contract.ts";
import { describeError } from "./venue/describe-error.ts";
import { asRecord } from "./venue/exchange.ts";
import { MarginVenue } from "./venue/margin-venue.ts";

/** Time after which every call is aborted, ms. */
const BUDGET_MS = 20_000;
const WHOLE_ACCOUNT = "*";

export const watchAccountAction = defineAction({
  jobSchema: watchJobSchema,
  run: async (job, { write, clock }) => {
    write(await watchAccount(job, clock, write));
    return 0;
  },
});

/**
 * Never throws: what could not be read is null, with the reason. `announce` hears which countdowns are about to be set, before
 * they are: whoever does not live to hear the answer must know what to disarm.
 */
export async function watchAccount(
  job: WatchJob,
  clock: Clock,
  announce: (answer: WatchAnswer) => void = () => undefined,
): Promise<WatchAnswer> {
  const troubles: string[] = [];
  const answer = { version: 1 as const, exposure: null, equity: null, transfers: null, deadman: null };
  const announceScopes = (armed: readonly string[]): void =>
    announce({
      ...answer,
      venueMs: clock.wallTime().getTime(),
      trouble: "it did not end",
      deadman: { done: false, armed: [...armed], reason: "its refresh did not end" },
    });
  const end = new AbortController();
  const cancelEnd = clock.after(BUDGET_MS, () => end.abort());
  const access = job.venue;
  let venue: CcxtVenue | undefined;
  let found: Partial<WatchAnswer> = {};
  try {
    if (access.driver !== undefined) throw new Error(`cannot look at an account by driver ${access.driver}`);
    const options = { clock, signal: end.signal, onFailure: () => undefined };
    const account = await openAccount(access, options);
    venue = marketOf(account);
    const note = (text: string): void => void troubles.push(text);
    found = await look(venue, account, job, { note, announce: announceScopes });
  } catch (error) {
    troubles.push(describeError(error, access));
  } finally {
    cancelEnd();
    end.abort();
  }
  const venueMs = clock.wallTime().getTime() - (venue?.skewMs ?? 0);
  return { ...answer, venueMs, ...found, trouble: troubles.length === 0 ? null : troubles.join("; ") };
}

type Account = CcxtVenue | BothMarkets | MarginVenue;

async function openAccount(access: CcxtAccess, options: VenueOptions): Promise<Account> {
  if (access.margin !== undefined) return MarginVenue.open(access, access.margin, options);
  return access.spot?.derivatives === true ? BothMarkets.open(access, options) : CcxtVenue.open(access, options);
}

/** The view that knows clock, limits and money of the account. */
function marketOf(account: Account): CcxtVenue {
  if (account instanceof MarginVenue) return account.market;
  return account instanceof BothMarkets ? account.derivatives : account;
}

async function look(
  venue: CcxtVenue,
  account: Account,
  job: WatchJob,
  { note, announce }: { note: (text: string) => void; announce: (armed: readonly string[]) => void },
): Promise<Partial<WatchAnswer>> {
  const { access } = venue;
  const unprepared = await account.prepare();
  const stranger = account.accountProblem();
  const problem = unprepared === undefined ? (stranger ?? account.symbolProblem()) : describeFailure(unprepared);
  if (problem !== undefined) {
    note(problem);
    return { deadman: job.deadman === null ? null : { done: false, armed: job.deadman.armed, reason: problem } };
  }
  // A countdown that is to be stopped does not wait for what the account holds.
  if (job.deadman?.duty === "disarm") return { deadman: await disarm(venue, job.deadman.armed) };
  const [reading, money] = await Promise.all([account.read(), readMoney(venue, access, job.loss, note)]);
  for (const failure of reading.failures.slice(0, 1)) note(describeFailure(failure));
  const { deadman } = job;
  const refreshed = deadman === null ? null : await refresh(venue, deadman, reading, announce);
  return {
    ...money,
    exposure: exposureIn([venue, ...(account instanceof BothMarkets ? [account.wallet] : [])], reading, note),
    deadman: refreshed,
  };
}

/** What is owed of the quote currency is no bet on a price. Balances, and contracts that are worth their notional in a dollar, can be added up; coin-margined ones tell it in the coin. */
function exposureIn(views: readonly CcxtVenue[], { positions }: Reading, note: (text: string) => void): number | null {
  if (positions === undefined) return null;
  const markets = views.map(({ exchange }) => asRecord(exchange.markets));
  const counted = positions.filter(({ owed }) => owed !== "quote");
  const [other] = inOtherMoney(counted);
  if (other !== undefined) {
    note(`the value of ${other.symbol} is not in the money of the rest, and cannot be added to it`);
    return null;
  }
  const total = exposureOf(
    counted.map(({ symbol, notional }) => {
      const { linear, spot } = asRecord(markets.find((listed) => Object.hasOwn(listed, symbol))?.[symbol]);
      return { notional: linear === true || spot === true ? notional : undefined };
    }),
  );
  if (total === undefined) note("the value of a position is not known in quote currency");
  return total ?? null;
}

async function readMoney(
  venue: CcxtVenue,
  access: CcxtAccess,
  loss: WatchJob["loss"],
  note: (text: string) => void,
): Promise<Pick<WatchAnswer, "equity" | "transfers">> {
  const { money } = accountFactsOf(access);
  if (loss === null) return { equity: null, transfers: null };
  if (money === undefined) {
    note(`the equity of ${access.exchange} is not known`);
    return { equity: null, transfers: null };
  }
  const { sinceMs } = loss;
  const equity = await venue.ask("account", async () => money.equity(venue.exchange));
  const transfers =
    sinceMs === null ? undefined : await venue.ask("account", async () => money.transfers(venue.exchange, sinceMs));
  for (const part of [equity, transfers])
    if (part !== undefined && "failure" in part) note(describeFailure(part.failure));
  return {
    equity: "value" in equity ? (equity.value ?? null) : null,
    transfers: transfers !== undefined && "value" in transfers ? (transfers.value ?? null) : null,
  };
}

type Deadman = NonNullable<WatchJob["deadman"]>;
type Refreshed = NonNullable<WatchAnswer["deadman"]>;

async function refresh(
  venue: CcxtVenue,
  { armed, timeoutMs }: Deadman,
  reading: Reading,
  announce: (armed: readonly string[]) => void,
): Promise<Refreshed> {
  const { exchange } = venue.access;
  const refusal = deadmanRefusal(exchange, reading.triggers?.length);
  if (refusal !== undefined) return { ...(await disarm(venue, armed)), done: false, reason: refusal };
  if (deadmanSwitchOf(exchange)?.per === "account") {
    announce([WHOLE_ACCOUNT]);
    const failed = await setCountdown(venue, WHOLE_ACCOUNT, timeoutMs);
    const runs = failed === undefined || failed.mayRun;
    return { done: failed === undefined, armed: runs ? [WHOLE_ACCOUNT] : armed, reason: failed?.reason ?? null };
  }
  if (reading.orders === undefined) return { done: false, armed, reason: "open orders cannot be listed" };
  const plan = planCountdowns(
    armed,
    reading.orders.map(({ symbol }) => symbol),
  );
  announce([...new Set([...armed, ...plan.set])]);
  const running = new Set(armed);
  const failures: string[] = [];
  const set = async (symbol: string, ms: number): Promise<void> => {
    const failed = await setCountdown(venue, symbol, ms);
    if (failed !== undefined) failures.push(failed.reason);
    if (ms > 0 && (failed === undefined || failed.mayRun)) running.add(symbol);
    if (ms === 0 && failed === undefined) running.delete(symbol);
  };
  const tasks = [
    ...plan.set.map((symbol) => () => set(symbol, timeoutMs)),
    ...plan.stop.map((symbol) => () => set(symbol, 0)),
  ];
  // Side by side: one after the other, those of many symbols at a slow venue would outlast the time there is.
  await runPool(tasks, venue.concurrency);
  return { done: failures.length === 0, armed: [...running], reason: failures[0] ?? null };
}

async function disarm(venue: CcxtVenue, armed: readonly string[]): Promise<Refreshed> {
  const left: string[] = [];
  let reason: string | null = null;
  const stop = async (scope: string): Promise<void> => {
    const failed = await setCountdown(venue, scope, 0);
    if (failed === undefined) return;
    left.push(scope);
    reason = failed.reason;
  };
  await runPool(
    armed.map((scope) => () => stop(scope)),
    venue.concurrency,
  );
  return { done: left.length === 0, armed: left, reason };
}

interface NotSet {
  readonly reason: string;
  /** The venue may have done it all the same: its reply was lost, or not understood. */
  readonly mayRun: boolean;
}

/** Why it failed; `undefined` when it did not. */
async function setCountdown(venue: CcxtVenue, scope: string, ms: number): Promise<NotSet | undefined> {
  const { exchange } = venue;
  const answer = await venue.ask("countdown", async () => {
    if (scope === WHOLE_ACCOUNT) return exchange.cancelAllOrdersAfter(ms);
    const market = asRecord(asRecord(exchange.markets)[scope]);
    return ask(exchange, "fapiPrivatePostCountdownCancelAll", { symbol: market["id"], countdownTime: ms });
  });
  if (!("failure" in answer)) return undefined;
  const reason = `cannot set the countdown of ${scope}: ${describeFailure(answer.failure)}`;
  return { reason, mayRun: answer.failure.kind === "unknown" };
}
