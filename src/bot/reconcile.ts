/**
 * Brings a bot's books to what its account holds before it trades (core/reconcile.ts decides). A bot is ready only once this has
 * come through: until then it knows neither what it owns nor what it owes.
 */
import { readFile } from "node:fs/promises";
import { readCloses, type AccountClose } from "../core/account-closes.ts";
import type { SavedPosition } from "../core/books.ts";
import { startOfDay, utcDay, type DayStart } from "../core/exposure.ts";
import { isUnfinished, outcomeOf, type KnownIntent } from "../core/order-intent.ts";
import {
  judgeLimits,
  reconcile,
  type BotLimits,
  type Finding,
  type MissingStop,
  type ReconcilePolicy,
  type RestingOrder,
  type VenuePosition,
} from "../core/reconcile.ts";
import type { Blackbox } from "./blackbox.ts";
import type { OrderReader, SettledIntent } from "./order-fate.ts";
import type { ProposeLevel } from "./ports.ts";
import { postToSocket } from "./socket-post.ts";
import type { StateStore } from "./state/store.ts";

/** What is asked of the venue. Whatever rejects ends the reconcile, and the bot is not ready. */
export interface ReconcileVenue {
  /** Every open position of the account. */
  positions(): Promise<readonly VenuePosition[]>;
  /** Every open order of the account, stops included. */
  openOrders(): Promise<readonly RestingOrder[]>;
  readonly reader: OrderReader;
  /** Places a reduce-only stop; without it a missing one is only reported. */
  placeStop?(stop: MissingStop): Promise<void>;
  /** In quote currency, unrealised profit included. */
  equity?(): Promise<number>;
}

export interface ReconcileOptions {
  readonly store: Pick<
    StateStore,
    "positions" | "openOrders" | "putPosition" | "intents" | "reconciled" | "day" | "putDay"
  >;
  readonly venue: ReconcileVenue;
  readonly policy: ReconcilePolicy;
  readonly limits?: BotLimits;
  /** Asks about the orders that an earlier life left: `settleUnfinished` of the executor. */
  readonly settle?: () => Promise<readonly SettledIntent[]>;
  readonly propose?: ProposeLevel;
  readonly blackbox?: Blackbox;
  /**
   * Where the supervisor tells what it has closed and is told that all agrees again, so that it ends what it demands after a
   * restore; default: the process's environment.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface ReconcileReport {
  /** The books agree with the account, and nothing is open that nobody understands or protects. */
  readonly ready: boolean;
  readonly findings: readonly Finding[];
  /** Why it is not ready. */
  readonly obstacles: readonly string[];
  readonly positions: readonly SavedPosition[];
  readonly stopsPlaced: readonly MissingStop[];
}

/** How long a finding, or a failure, holds the level, ms; the latter until the next attempt. */
const FINDING_TTL_MS = 60_000;
const FAILURE_TTL_MS = 86_400_000;
/** How long a limit that is exceeded holds the level unless it is looked at again, ms. */
const LIMIT_TTL_MS = 300_000;
/** Wait for the venue's word about one order, ms. */
const LOOK_UP_MS = 30_000;
/** Wait for the supervisor's answer, ms. */
const TELL_MS = 2_000;
const DAY_MS = 86_400_000;

/** Rejects where the venue or the state cannot be read or written; the level is then `minimal` until it comes through. */
export async function reconcileBot(options: ReconcileOptions): Promise<ReconcileReport> {
  const { propose, blackbox, store } = options;
  try {
    const report = await run(options);
    blackbox?.record("reconcile", { ready: report.ready, findings: report.findings }, { recorder: "kept" });
    const { ready, obstacles, findings } = report;
    if (ready) {
      await store.reconciled();
      await tellSupervisor(options.env ?? process.env);
    }
    // What the supervisor has closed a person has looked at: the bot would be locked out else.
    const grave = findings.filter(({ kind }) => kind !== "stranger" && kind !== "closed");
    const reason = ready ? grave.map(({ text }) => text).join("; ") : obstacles.join("; ");
    const level = ready && grave.length === 0 ? "normal" : "minimal";
    propose?.({ source: "reconcile", level, reason, ttlMs: ready ? FINDING_TTL_MS : FAILURE_TTL_MS });
    return report;
  } catch (error) {
    const reason = `cannot compare the books with the account: ${error instanceof Error ? error.message : String(error)}`;
    propose?.({ source: "reconcile", level: "minimal", reason, ttlMs: FAILURE_TTL_MS });
    throw error;
  }
}

async function run(options: ReconcileOptions): Promise<ReconcileReport> {
  const { store, venue } = options;
  const policy = { ...options.policy, closes: options.policy.closes ?? (await closesOf(options.env ?? process.env)) };
  const obstacles = unsettledOf((await options.settle?.()) ?? []);
  // Orders before positions: one that is filled in between shows in the position, which is what counts.
  const orders = await venue.openOrders();
  const books = { positions: await store.positions(), orders: await store.openOrders() };
  const positions = await venue.positions();
  const now = Date.now();
  const { changes, stops, findings, missingOrders } = reconcile(books, { positions, orders }, policy, now);
  for (const position of changes) await store.putPosition(position);
  for (const order of missingOrders) obstacles.push(...(await lookUp(order, venue, store, now)));
  const { placed, failed } = await placeStops(stops, venue);
  obstacles.push(...failed, ...findings.filter(({ kind }) => kind === "unprotected").map(({ text }) => text));
  await checkLimits(options, positions);
  return {
    ready: obstacles.length === 0,
    findings,
    obstacles,
    positions: await store.positions(),
    stopsPlaced: placed,
  };
}

function unsettledOf(settled: readonly SettledIntent[]): string[] {
  return settled
    .filter(({ outcome }) => outcome.status === "unknown")
    .map(({ intent }) => `nobody knows what became of order ${intent.clientOrderId} (${intent.symbol})`);
}

/** An order that does not rest any more has ended in some way; one that was never acknowledged is `settle`'s to find out. */
async function lookUp(
  { intent, outcome }: KnownIntent,
  { reader }: ReconcileVenue,
  { intents }: Pick<StateStore, "intents">,
  now: number,
): Promise<string[]> {
  const id = intent.clientOrderId;
  const found = await reader.find(intent, AbortSignal.timeout(LOOK_UP_MS));
  if (found !== undefined) {
    await intents.settle(id, outcomeOf(found, outcome?.attempts ?? 0, now));
    return [];
  }
  if (outcome === null || isUnfinished(outcome)) return [`nobody knows what became of order ${id} (${intent.symbol})`];
  // It was there: `absent` would permit to send it once more.
  const error = "the venue does not show it any more";
  await intents.settle(id, { ...outcome, status: "cancelled", error, at: now });
  return [];
}

async function placeStops(
  stops: readonly MissingStop[],
  venue: ReconcileVenue,
): Promise<{ readonly placed: readonly MissingStop[]; readonly failed: readonly string[] }> {
  const placed: MissingStop[] = [];
  const failed: string[] = [];
  for (const stop of stops) {
    const what = `${stop.side} ${stop.amount} ${stop.symbol} has no stop`;
    if (stop.late) failed.push(`${what}, and the price is beyond it: close or reduce the position`);
    else if (venue.placeStop === undefined) failed.push(what);
    else
      try {
        await venue.placeStop(stop);
        placed.push(stop);
      } catch (error) {
        // One that fails must not keep the next from its stop.
        failed.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      }
  }
  return { placed, failed };
}

/** Looks at exposure and daily loss, and proposes what follows; to be called with every reading of the positions. */
export async function checkLimits(
  { store, venue, limits, propose }: Pick<ReconcileOptions, "store" | "venue" | "limits" | "propose">,
  positions: readonly VenuePosition[],
): Promise<void> {
  if (limits === undefined) return;
  const equity = limits.maxDailyLoss === undefined ? undefined : await venue.equity?.();
  const dayStart = equity === undefined ? undefined : await dayOf(store, equity, Date.now());
  for (const proposal of judgeLimits(limits, { positions, equity, dayStart, transfers: 0 }, LIMIT_TTL_MS))
    propose?.(proposal);
}

/** The day's start as it is kept: a bot that crashes all day still knows what it began with. */
async function dayOf(store: ReconcileOptions["store"], equity: number, now: number): Promise<DayStart> {
  const name = new Date(now).toISOString().slice(0, 10);
  const kept = await store.day(name);
  if (kept !== undefined) return { day: utcDay(now), equity: Number(kept.startEquity), atMs: utcDay(now) * DAY_MS };
  const start = startOfDay(undefined, equity, now);
  const none = { realized: "0", unrealized: "0", fees: "0" };
  await store.putDay({ day: name, startEquity: String(equity), ...none, updatedAt: now });
  return start;
}

/** What the supervisor has closed; where it says nothing, or nothing that can be read, whatever is gone counts as a stranger's deed. */
async function closesOf(env: Readonly<Record<string, string | undefined>>): Promise<readonly AccountClose[]> {
  const path = env["SUPERVISOR_CLOSES"];
  if (path === undefined || path === "") return [];
  return readCloses(await readFile(path, "utf8").catch(() => undefined));
}

/** The supervisor may hold the bot at `minimal` after a restore until it hears this; one that does not answer is told at the next start. */
async function tellSupervisor(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const socket = env["SUPERVISOR_SOCKET"];
  if (socket === undefined || socket === "") return;
  try {
    await postToSocket({ socket, path: "/v1/reconciled", signal: AbortSignal.timeout(TELL_MS) });
  } catch {
    // No supervisor is no reason not to trade.
  }
}
