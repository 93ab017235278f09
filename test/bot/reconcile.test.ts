/** The reconcile of a bot with a real state and a made-up venue: what is written, placed, asked and told. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import {
  openStore,
  reconcileBot,
  type LevelProposal,
  type MissingStop,
  type ReconcileOptions,
  type ReconcileVenue,
  type StateStore,
  type VenuePosition,
} from "../../src/bot/index.ts";
import { withClose } from "../../src/core/account-closes.ts";
import { postByHttp } from "../../src/bot/socket-post.ts";
import { intent, makeFolder, position } from "./state/rig.ts";

let place: ReturnType<typeof makeFolder>;
let store: StateStore;
let proposals: LevelProposal[];
let placed: MissingStop[];

beforeEach(async () => {
  place = makeFolder();
  store = await openStore({ folder: place.folder });
  proposals = [];
  placed = [];
});

afterEach(async () => {
  await store.close();
  place.remove();
});

const HELD: VenuePosition = {
  symbol: "S2/USDT:USDT",
  side: "long",
  amount: 0.1,
  entryPrice: 60_000,
  markPrice: 60_100,
  notional: 6_010,
  rules: { minAmount: 0.001, stepAmount: 0.001 },
};

function propose(proposal: LevelProposal): void {
  proposals.push(proposal);
}

function reconciled(venue: Partial<ReconcileVenue>, more: Partial<ReconcileOptions> = {}) {
  const whole: ReconcileVenue = {
    positions: () => Promise.resolve([HELD]),
    openOrders: () => Promise.resolve([]),
    reader: { find: () => Promise.resolve(undefined) },
    placeStop: (stop) => {
      placed.push(stop);
      return Promise.resolve();
    },
    ...venue,
  };
  const policy = { account: "main", isOwn: () => true };
  return reconcileBot({ store, venue: whole, policy, propose, env: {}, ...more });
}

const ACKED = {
  status: "acked",
  exchangeOrderId: "7",
  filled: null,
  avgPrice: null,
  attempts: 1,
  error: null,
  at: 1,
} as const;

test("reconcileBot() is ready once the books are the venue's and what had no stop has one", async () => {
  await store.putPosition(position(2));
  await store.putPosition(position(4));
  const report = await reconciled({});
  expect(report).toMatchObject({ ready: true, obstacles: [], positions: [{ id: "p2" }] });
  expect(placed).toMatchObject([{ positionId: "p2", amount: 0.1, stopPrice: 59_000 }]);
  expect(proposals).toMatchObject([{ source: "reconcile", level: "minimal" }]);
});

test("reconcileBot() of books that agree withdraws what an earlier one has proposed", async () => {
  await store.putPosition(position(2));
  const orders = [
    {
      id: "1",
      clientOrderId: "x",
      symbol: HELD.symbol,
      side: "sell",
      reduceOnly: true,
      remaining: undefined,
      stopPrice: 1,
    } as const,
  ];
  await store.intents.begin(intent("x"));
  await store.intents.settle("x", ACKED);
  await reconciled({ openOrders: () => Promise.resolve(orders) });
  expect(proposals).toMatchObject([{ source: "reconcile", level: "normal" }]);
});

test("reconcileBot() is not ready where a stop cannot be placed, and still places the others", async () => {
  const other = { ...HELD, symbol: "S4/USDT:USDT" };
  await store.putPosition(position(2));
  await store.putPosition(position(4));
  const report = await reconciled({
    positions: () => Promise.resolve([HELD, other]),
    placeStop: (stop) => {
      if (stop.symbol === HELD.symbol) return Promise.reject(new Error("no margin"));
      placed.push(stop);
      return Promise.resolve();
    },
  });
  expect(report).toMatchObject({ ready: false, obstacles: [expect.stringContaining("no margin")] });
  expect(placed).toMatchObject([{ symbol: "S4/USDT:USDT" }]);
});

test("reconcileBot() knows what the supervisor has closed, and proposes nothing for it", async () => {
  await store.putPosition(position(2));
  await store.putPosition(position(3));
  const told = join(place.folder, "closes.json");
  const closed = [2, 3].map((n) => {
    const { symbol, side } = position(n);
    return { symbol, side, amount: 0.10000001 } as const;
  });
  const times = { startedAt: Date.now() - 1_000, endedAt: Date.now() };
  const close = { incident: "i1", trigger: "operator", outcome: "flat", ...times, positions: closed };
  writeFileSync(told, withClose(undefined, close));
  const report = await reconciled({ positions: () => Promise.resolve([]) }, { env: { SUPERVISOR_CLOSES: told } });
  expect(report).toMatchObject({ ready: true, positions: [], findings: [{ kind: "closed" }, { kind: "closed" }] });
  expect(proposals).toMatchObject([{ source: "reconcile", level: "normal" }]);
});

test("reconcileBot() takes a close that nobody tells of for a stranger's", async () => {
  await store.putPosition(position(2));
  const env = { SUPERVISOR_CLOSES: join(place.folder, "nothing") };
  const report = await reconciled({ positions: () => Promise.resolve([]) }, { env });
  expect(report.findings).toMatchObject([{ kind: "gone" }]);
  expect(proposals).toMatchObject([{ source: "reconcile", level: "minimal" }]);
});

test("reconcileBot() asks what became of an order that does not rest any more, and never lets it be sent again", async () => {
  for (const id of ["filled", "purged"]) {
    await store.intents.begin(intent(id));
    await store.intents.settle(id, ACKED);
  }
  await reconciled({
    positions: () => Promise.resolve([]),
    reader: {
      find: ({ clientOrderId }) =>
        Promise.resolve(
          clientOrderId === "filled" ? { id: "7", clientOrderId, status: "closed", filled: "0.3" } : undefined,
        ),
    },
  });
  const known = await Promise.all(["filled", "purged"].map((id) => store.intents.begin(intent(id))));
  expect(known.map((each) => each?.outcome?.status)).toEqual(["filled", "cancelled"]);
});

test("reconcileBot() is not ready while the fate of an order is not known", async () => {
  await store.intents.begin(intent("sent"));
  const report = await reconciled({ positions: () => Promise.resolve([]) });
  expect(report).toMatchObject({ ready: false, obstacles: [expect.stringContaining("order sent")] });
  expect((await store.intents.unfinished()).length).toBe(1);
});

test("reconcileBot() rejects and holds the level where the venue cannot be read, and changes nothing", async () => {
  await store.putPosition(position(4));
  await expect(reconciled({ positions: () => Promise.reject(new Error("timeout")) })).rejects.toThrow("timeout");
  expect(proposals).toMatchObject([{ source: "reconcile", level: "minimal" }]);
  expect(await store.positions()).toEqual([position(4)]);
});

test("reconcileBot() measures the day's loss from what the day of UTC began with, also after a restart", async () => {
  const limits = { maxDailyLoss: 100 };
  const empty = { positions: () => Promise.resolve([]) };
  onTestFinished(() => void vi.useRealTimers());
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 0, 2, 12) });
  await reconciled({ ...empty, equity: () => Promise.resolve(1_000) }, { limits });
  await store.close();
  store = await openStore({ folder: place.folder });
  await reconciled({ ...empty, equity: () => Promise.resolve(899) }, { limits });
  const lost = ["limit:dailyLoss", "emergency"];
  expect(proposals.map(({ source, level }) => [source, level])).toContainEqual(lost);
  proposals = [];
  vi.setSystemTime(Date.UTC(2026, 0, 3));
  await reconciled({ ...empty, equity: () => Promise.resolve(899) }, { limits });
  expect(proposals.map(({ source, level }) => [source, level])).not.toContainEqual(lost);
});

test("reconcileBot() that is ready tells the supervisor, and one that is not tells nothing", async () => {
  await store.putPosition(position(2));
  const socket = join(place.folder, "s");
  const told: string[] = [];
  const supervisor = listenOn(socket, told);
  try {
    const env = { SUPERVISOR_SOCKET: socket };
    await reconciled({ placeStop: () => Promise.reject(new Error("refused")) }, { env });
    await reconciled({}, { env });
    expect(told).toEqual(["POST /v1/reconciled"]);
  } finally {
    await supervisor.stop(true);
  }
});

test("postByHttp() says under Node what fetch says under Bun", async () => {
  const socket = join(place.folder, "s");
  const told: string[] = [];
  const supervisor = listenOn(socket, told);
  try {
    const signal = AbortSignal.timeout(20_000);
    await postByHttp({ socket, path: "/v1/reconciled", signal });
    await postByHttp({ socket, path: "/v1/heartbeat", body: "{}", signal });
    expect(told).toEqual(["POST /v1/reconciled", "POST /v1/heartbeat"]);
  } finally {
    await supervisor.stop(true);
  }
});

function listenOn(socket: string, told: string[]) {
  return Bun.serve({
    unix: socket,
    fetch: ({ method, url }) => {
      told.push(`${method} ${new URL(url).pathname}`);
      return new Response(null, { status: 204 });
    },
  });
}
