/**
 * The preflight: does on a quiet day what an emergency close would need, and says what would not work.
 *
 * It never sends an order that can be filled, takes no lock, and gives up after `BUDGET_MS`: nothing waits for it.
 */
import { FLAT } from "../core/close-goal.ts";
import { decide, startPlan } from "../core/close-plan.ts";
import type { Reading } from "../core/close-plan-types.ts";
import { counted } from "../core/counted.ts";
import type { CcxtAccess } from "../core/close-job.ts";
import { preflightExitCode, preflightJobSchema } from "../core/preflight.ts";
import type { PreflightCheck, PreflightJob, PreflightReport } from "../core/preflight.ts";
import { describeFailure } from "../core/venue-error.ts";
import type { Clock } from "../platform/clock.ts";
import { defineAction } from "./contract.ts";
import { drillChecks } from "./preflight-drill.ts";
import { accountFactsOf, ask } from "./venue/account-facts.ts";
import { BothMarkets } from "./venue/both-markets.ts";
import { CcxtVenue } from "./venue/ccxt-venue.ts";
import type { Venue } from "./venue/contract.ts";
import { openVenue } from "./venue/open.ts";
import { describeError } from "./venue/describe-error.ts";
import { asRecord } from "./venue/exchange.ts";
import type { VenueExchange } from "./venue/exchange.ts";
import { readMarginState } from "./venue/margin-interface.ts";
import { MarginVenue } from "./venue/margin-venue.ts";
import { saveMarkets } from "./venue/market-cache.ts";

/** Time after which every call is aborted, ms. */
const BUDGET_MS = 60_000;
/** Named to drivers that want one; nothing is journaled or sent under it. */
const INCIDENT = "flight";
/** Venues refuse requests from further away, some from 1 s on. */
const MAX_SKEW_MS = 1_000;
/** Tries of the first reading: one failure is no finding. */
const READ_TRIES = 3;

export const preflightAction = defineAction({
  jobSchema: preflightJobSchema,
  run: async (job, { write, clock }) => {
    const report = await preflight(job, clock);
    write(report);
    return report.exitCode;
  },
});

interface Flight {
  readonly job: PreflightJob;
  readonly clock: Clock;
  readonly venue: Venue;
  readonly note: (name: PreflightCheck["name"], result: PreflightCheck["result"], detail: string) => void;
  firstReplyMs: number | undefined;
  refused: boolean;
}

/** A flight whose driver is ccxt: only there can the venue itself be asked. */
interface CcxtFlight extends Flight {
  readonly venue: CcxtVenue;
  readonly access: CcxtAccess;
}

/** Runs every check; each by itself, so that one that breaks hides no other. Never throws. */
export async function preflight(job: PreflightJob, clock: Clock): Promise<PreflightReport> {
  const startMs = clock.monotonicMs();
  const checks: PreflightCheck[] = [];
  const note: Flight["note"] = (name, result, detail) => void checks.push({ name, result, detail });
  const end = new AbortController();
  const cancelEnd = clock.after(BUDGET_MS, () => end.abort());
  let flight: Flight | undefined;
  try {
    const venue = await openVenue(job.venue, INCIDENT, { clock, signal: end.signal, onFailure: () => undefined });
    flight = { job, clock, venue, note, firstReplyMs: undefined, refused: false };
    await Promise.all([fly(flight), checkHook(flight, end.signal)]);
  } catch (error) {
    note("venue", "failed", describeError(error, job.venue));
  } finally {
    cancelEnd();
    end.abort();
  }
  const exitCode = preflightExitCode(checks, flight?.refused === true);
  const { bot, account, venue } = job;
  return {
    version: 1,
    bot,
    account,
    exchange: venue.exchange,
    sandbox: venue.driver === undefined && venue.sandbox,
    at: clock.wallTime().toISOString(),
    ok: exitCode === 0,
    exitCode,
    durationMs: Math.round(clock.monotonicMs() - startMs),
    firstReplyMs: flight?.firstReplyMs ?? null,
    calls: flight?.venue.calls ?? 0,
    checks,
  };
}

/** What the hook beside the driver says of itself; it is asked nothing else. */
async function checkHook({ job, clock, note }: Flight, signal: AbortSignal): Promise<void> {
  const { hook } = job;
  if (hook === undefined) return undefined;
  try {
    const venue = await openVenue(hook, INCIDENT, { clock, signal, onFailure: () => undefined });
    const trouble = await venue.preflight?.();
    if (trouble === undefined) return note("hook", "ok", `the ${hook.driver} hook answers`);
    return note("hook", "failed", `the ${hook.driver} hook: ${describeFailure(trouble)}`);
  } catch (error) {
    return note("hook", "failed", describeError(error, hook));
  }
}

/** In the order of a close: markets, reading, and what only a preflight asks. */
async function fly(flight: Flight): Promise<void> {
  const { venue, note, job } = flight;
  const unprepared = await venue.prepare();
  if (unprepared !== undefined) {
    flight.refused = unprepared.kind === "auth";
    return note("read", "failed", describeFailure(unprepared));
  }
  const { venue: access } = job;
  const stranger = venue.accountProblem?.();
  if (stranger !== undefined) return note("account", "failed", stranger);
  if (access.driver === undefined && access.uid !== undefined) note("account", "ok", `the venue says ${access.uid}`);
  const problem = venue.symbolProblem();
  if (problem !== undefined) return note("venue", "failed", problem);
  const reading = await readAccount(flight);
  if (reading !== undefined) checkPlan(flight, reading);
  if (access.driver === undefined) return askCcxt(flight, access);
  const trouble = "preflight" in venue ? await venue.preflight?.() : undefined;
  if (trouble !== undefined) return note("venue", "failed", describeFailure(trouble));
  return note("trade", "unknown", `only the ${access.driver} knows what its key may do`);
}

/** Of an account with both markets each is asked for itself. */
async function askCcxt(flight: Flight, access: CcxtAccess): Promise<void> {
  const { venue } = flight;
  if (venue instanceof CcxtVenue) return askVenue({ ...flight, venue, access }, flight);
  if (venue instanceof MarginVenue) {
    await checkMargin(flight, venue);
    return askVenue({ ...flight, venue: venue.market, access: venue.market.access }, flight);
  }
  if (!(venue instanceof BothMarkets)) return undefined;
  for (const view of [venue.derivatives, venue.wallet]) {
    // Safe: one after the other, within the venue's limits.
    // oxlint-disable-next-line no-await-in-loop
    await askVenue({ ...flight, venue: view, access: view.access }, flight);
  }
  return undefined;
}

/** Whether there is such an account at all, and whether the venue lets it trade. */
async function checkMargin({ note }: Flight, { market, policy }: MarginVenue): Promise<void> {
  const answer = await market.ask("account", async () => readMarginState(market.exchange, policy));
  // Binance's −3003: there is none. Any other refusal keeps a close from seeing it just as well.
  if ("failure" in answer && answer.failure.kind === "rejected")
    return note("margin", "failed", `the venue refuses to show the account; is ${policy.mode} margin enabled?`);
  if ("failure" in answer) return note("margin", "unknown", describeFailure(answer.failure));
  const { trades, text } = answer.value;
  return note("margin", trades === undefined ? "unknown" : trades ? "ok" : "failed", text);
}

/** What only a preflight asks; whether the key was refused is noted in the flight that began. */
async function askVenue(flight: CcxtFlight, begun: Flight): Promise<void> {
  await checkMarkets(flight);
  await Promise.all([checkRights(flight), checkPositionMode(flight), checkClock(flight)]);
  begun.refused ||= flight.refused;
  if (!flight.job.drill) return;
  for (const { name, result, detail } of await drillChecks(flight.venue)) flight.note(name, result, detail);
}

/** The reading that a close begins with, from the cached markets if there are any: it tells the time to the first signed answer. */
async function readAccount(flight: Flight): Promise<Reading | undefined> {
  const { venue, note, clock } = flight;
  for (let tries = 1; ; tries += 1) {
    // Safe: tries follow each other.
    // oxlint-disable-next-line no-await-in-loop
    const reading = await venue.read();
    const { positions, orders, triggers, failures } = reading;
    if (positions !== undefined) flight.firstReplyMs ??= Math.round(clock.monotonicMs());
    if (positions !== undefined && orders !== undefined && triggers !== undefined) {
      const open = `${counted(positions.length, "position")}, ${counted(orders.length + triggers.length, "order")}`;
      note("read", "ok", open);
      return reading;
    }
    const refused = failures.some(({ kind }) => kind === "auth");
    if (tries < READ_TRIES && !refused) continue;
    flight.refused = refused;
    const [failure = { kind: "unknown" } as const] = failures;
    note("read", "failed", refused ? "the venue refuses the key" : describeFailure(failure));
    return undefined;
  }
}

/** Asks for the list anew and keeps it for the next close. */
async function checkMarkets({ venue, note, access, clock }: CcxtFlight): Promise<void> {
  const failure = venue.usesCache ? await venue.prepare({ fresh: true }) : undefined;
  if (failure !== undefined) return note("markets", "failed", describeFailure(failure));
  const count = counted(Object.keys(asRecord(venue.exchange.markets)).length, "market");
  try {
    saveMarkets(venue.exchange, access, clock);
    return note("markets", "ok", count);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // It only saves the close a call: a full disk is no reason to refuse anything.
    return note(
      "markets",
      "warning",
      `${count}, which cannot be kept: a close would ask the venue for them first: ${why}`,
    );
  }
}

/** What the venue says of the key; where it says nothing of trading, an order that is only tested may. */
async function checkRights(flight: CcxtFlight): Promise<void> {
  const { venue, note, job, access } = flight;
  const { rights } = accountFactsOf(access);
  const answer = rights === undefined ? undefined : await venue.ask("account", async () => rights(venue.exchange));
  const told = answer !== undefined && "value" in answer ? answer.value : undefined;
  const why =
    answer !== undefined && "failure" in answer ? describeFailure(answer.failure) : "this venue tells no rights";
  const tested = await testOrder(flight);
  if (told?.trade === false || tested === "refused") {
    flight.refused = true;
    note("trade", "failed", "the key may not trade, so nothing could be closed");
  } else if (told?.trade === true || tested === "accepted")
    note("trade", "ok", tested === "accepted" ? "a test order is accepted" : "the venue says so");
  else note("trade", "unknown", why);
  if (told?.withdraw === undefined) note("withdraw", "unknown", why);
  else if (told.withdraw && !job.allowWithdraw)
    note("withdraw", "failed", "the key may withdraw; a bot's key should not (emergency.preflight.allowWithdraw)");
  else note("withdraw", "ok", told.withdraw ? "the key may withdraw, as the config allows" : "the key cannot withdraw");
}

/** Binance validates such an order and never gives it to the book; any refusal but one of the key shows that the key got through. */
async function testOrder({ venue, access }: CcxtFlight): Promise<"accepted" | "refused" | "unknown"> {
  const { exchange, spot, margin } = access;
  // The spot market's test says nothing of loans, and margin has none of its own.
  if (margin !== undefined) return "unknown";
  const spotToo = exchange === "binance" && spot !== undefined;
  if (exchange !== "binanceusdm" && !spotToo) return "unknown";
  const id = smallestOrder(venue.exchange, spotToo ? "spot" : "contract");
  if (id === undefined) return "unknown";
  const params = { ...id, side: "SELL", type: "MARKET" };
  const call = spotToo ? "privatePostOrderTest" : "fapiPrivatePostOrderTest";
  const answer = await venue.ask("order", async () => ask(venue.exchange, call, params));
  if ("value" in answer) return "accepted";
  if (answer.failure.kind === "auth") return "refused";
  return answer.failure.kind === "rejected" ? "accepted" : "unknown";
}

function smallestOrder(
  exchange: VenueExchange,
  kind: "spot" | "contract",
): { symbol: unknown; quantity: unknown } | undefined {
  const markets = Object.values(asRecord(exchange.markets)).map(asRecord);
  const market = markets.find((each) => each[kind] === true && each["active"] !== false);
  const { min } = asRecord(asRecord(market?.["limits"])["amount"]);
  return market === undefined || min === undefined ? undefined : { symbol: market["id"], quantity: min };
}

async function checkPositionMode({ venue, note, access }: CcxtFlight): Promise<void> {
  const { exchange } = venue;
  // Balances have none.
  if (access.spot !== undefined) return undefined;
  if (exchange.has["fetchPositionMode"] !== true)
    return note("positionMode", "unknown", "the venue does not tell; each position says it of itself");
  const answer = await venue.ask("account", async () => exchange.fetchPositionMode());
  if ("failure" in answer) return note("positionMode", "unknown", describeFailure(answer.failure));
  return note("positionMode", "ok", asRecord(answer.value)["hedged"] === true ? "hedge" : "one-way");
}

/** By the venue's time in the middle of the call; without such a call the header tells whole seconds only. */
async function checkClock({ venue, note, clock }: CcxtFlight): Promise<void> {
  const { exchange } = venue;
  if (exchange.has["fetchTime"] !== true) {
    const skewMs = venue.skewMs;
    if (skewMs === undefined) return note("clock", "unknown", "the venue tells no time");
    const far = Math.abs(skewMs) > 2 * MAX_SKEW_MS;
    return note("clock", far ? "failed" : "unknown", `about ${skewMs} ms ahead of the venue, to the second`);
  }
  const answer = await venue.ask("time", async () => {
    const sentMs = clock.monotonicMs();
    const venueMs = await exchange.fetchTime();
    if (venueMs === undefined) throw new Error("the venue tells no time");
    const halfMs = (clock.monotonicMs() - sentMs) / 2;
    return { skewMs: Math.round(clock.wallTime().getTime() - halfMs - venueMs), halfMs: Math.round(halfMs) };
  });
  if ("failure" in answer) return note("clock", "unknown", describeFailure(answer.failure));
  const { skewMs, halfMs } = answer.value;
  const text = skewMs >= 0 ? `${skewMs} ms ahead of the venue` : `${-skewMs} ms behind the venue`;
  if (Math.abs(skewMs) < MAX_SKEW_MS) return note("clock", "ok", text);
  // The venue looked at its clock at any time of the call, and a slow answer tells little.
  if (Math.abs(skewMs) - halfMs < MAX_SKEW_MS) return note("clock", "unknown", `${text}, or ${halfMs} ms less`);
  return note("clock", "failed", text);
}

/** What a close would do first, by the close's own rules; nothing of it is sent. */
function checkPlan({ venue, note, clock }: Flight, reading: Reading): void {
  const nowMs = clock.monotonicMs();
  const policy = {
    incident: INCIDENT,
    run: "000000",
    goal: FLAT,
    scope: [],
    deadlineMs: nowMs + BUDGET_MS,
    recvWindowMs: venue.orderWindowMs,
  };
  const { decision } = decide(policy, startPlan(), reading, nowMs);
  if (decision.kind !== "act") return note("plan", "ok", "nothing is open");
  const orders = decision.chains.reduce((sum, chain) => sum + chain.orders.length, 0);
  return note("plan", "ok", `would send ${counted(orders, "order")} first`);
}
