/** What the sample bot takes from the SDK: kept state, level, breakers, retry budget, black box, and one door for all its calls to the venue. */
import {
  Budget,
  createBlackbox,
  createBreakers,
  createExecutor,
  createLevels,
  openStore,
  reconcileBot,
  proposeWhileOpen,
  watchSelf,
  watchUnprotected,
  type Blackbox,
  type Breaker,
  type ExecutedOrder,
  type LevelProposal,
  type Levels,
  type OrderOp,
  type OrderReader,
  type OrderRequest,
  type ReconcileReport,
  type ReconcileVenue,
  type SettledIntent,
  type StateStore,
} from "../../bot/index.ts";
import { STOP_RATIO } from "./strategy.ts";

export interface SafetyOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folder of what must survive. */
  readonly folder: string;
  readonly reader: OrderReader;
  /** Ends waits for retries. */
  readonly stop: AbortSignal;
  readonly print: (line: string) => void;
}

export interface Safety {
  readonly store: StateStore;
  readonly levels: Levels;
  readonly blackbox: Blackbox;
  /** Reads prices and markets. */
  readonly market: <T>(name: string, read: () => Promise<T>) => Promise<T>;
  /** Reads the account. */
  readonly account: <T>(name: string, read: () => Promise<T>) => Promise<T>;
  /** Places an order once, whatever is lost in between. */
  readonly order: (order: OrderRequest, send: OrderOp) => Promise<ExecutedOrder>;
  /** Asks the venue about orders whose fate is not known. */
  readonly settle: () => Promise<readonly SettledIntent[]>;
  /** Brings the books to what the account holds. */
  readonly reconcile: (venue: ReconcileVenue) => Promise<ReconcileReport>;
  /** Looks at the bot itself and at positions without a stop, until it is closed. */
  readonly watch: (venue: Pick<ReconcileVenue, "positions" | "openOrders">) => void;
  readonly close: () => Promise<void>;
}

/** The paper exchange is near and comes back soon: breakers look again after a second, and wait up to five. */
const BREAKER = { openMs: 1_000, openFactor: 2, openMaxMs: 5_000 };
const READ = { kind: "read", maxRetries: 2, baseDelayMs: 200, timeoutMs: 6_000 } as const;
/** As long as the venue may execute a late request: `RECV_WINDOW_MS` of the venue's client. */
const ORDER_WINDOW_MS = 2_000;

const POLICY = {
  account: "paper",
  isOwn: (clientOrderId: string) => /^sv[0-9a-f]{30}$/.test(clientOrderId),
  stopRatio: STOP_RATIO,
};

function fateOf(status: string): string {
  if (status === "unknown") return "outcome still unknown";
  return status === "absent" ? "never reached the venue" : `found at the venue, ${status}`;
}

/** Of the calls for prices, for the account, and for orders. */
function openBreakers(
  { store, levels, blackbox }: Pick<Safety, "store" | "levels" | "blackbox">,
  print: (line: string) => void,
): readonly [Breaker, Breaker, Breaker] {
  const breakers = createBreakers({ store: store.breakers });
  // Each class of calls has its own, so that prices that fail do not keep the bot from its account.
  const breaker = (name: string, level: "degraded" | "minimal"): Breaker => {
    const made = breakers.get(`venue.${name}`, BREAKER);
    proposeWhileOpen(made, level, levels.propose);
    made.onStateChange((change) => {
      blackbox.record("breaker", change, { sev: change.to === "open" ? "warn" : "info" });
      print(`breaker ${change.name}: ${change.from} → ${change.to}`);
    });
    return made;
  };
  return [breaker("market", "degraded"), breaker("account", "degraded"), breaker("order", "minimal")];
}

/** Opens all of it. Rejects when the state cannot be opened: without it a bot does not know what it has sent. */
export async function openSafety({ env, folder, reader, stop, print }: SafetyOptions): Promise<Safety> {
  const early: LevelProposal[] = [];
  let propose = (proposal: LevelProposal): void => void early.push(proposal);
  const store = await openStore({ folder, propose: (proposal) => propose(proposal), onTrouble: print });
  const blackbox = createBlackbox(env);
  const levels = createLevels(env, {
    store: store.level,
    blackbox,
    onChange: ({ from, to, reason }) => print(`level ${from} → ${to}${reason === "" ? "" : `: ${reason}`}`),
  });
  propose = levels.propose;
  for (const proposal of early) levels.propose(proposal);
  const [market, account, orders] = openBreakers({ store, levels, blackbox }, print);
  const executor = createExecutor({
    budget: new Budget({}, { store: store.budgets }),
    gate: levels.gate,
    intents: store.intents,
    reader,
    orderWindowMs: ORDER_WINDOW_MS,
    propose: levels.propose,
    blackbox,
  });
  const settle = async (): Promise<readonly SettledIntent[]> => {
    const settled = await executor.settleUnfinished();
    for (const { intent, outcome } of settled) print(`${intent.clientOrderId}: ${fateOf(outcome.status)}`);
    return settled;
  };
  const reading =
    (through: Breaker) =>
    async <T>(name: string, read: () => Promise<T>): Promise<T> =>
      (await executor.execute(read, name, { ...READ, breaker: through, signal: stop })).value;
  const ends: (() => void)[] = [];
  return {
    store,
    levels,
    blackbox,
    market: reading(market),
    account: reading(account),
    order: (order, send) =>
      executor.execute(send, "place_order", {
        kind: "order",
        order,
        breaker: orders,
        signal: stop,
        maxRetries: 1,
        baseDelayMs: 200,
      }),
    settle,
    reconcile: (venue) =>
      reconcileBot({ store, venue, policy: POLICY, settle, propose: levels.propose, blackbox, env }),
    watch: (venue) => {
      ends.push(watchSelf({ propose: levels.propose, folder }), watchUnprotected({ levels, venue }));
    },
    close: async () => {
      for (const end of ends) end();
      levels.close();
      blackbox.close();
      await store.close();
    },
  };
}
