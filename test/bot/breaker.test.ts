/** The breaker as a bot uses it: calls, decorators, registry, hooks, statistics and store. */
import { expect, test } from "vitest";
import type { BreakerConfig } from "../../src/core/circuit-parts.ts";
import { Breaker, type BreakerChange, type BreakerWiring } from "../../src/bot/breaker.ts";
import { createBreakers, getBreaker, guard } from "../../src/bot/breakers.ts";
import { CircuitOpenError, retryAfterMsOf } from "../../src/bot/errors.ts";
import type { SavedBreaker } from "../../src/bot/ports.ts";

const broken = (): never => {
  throw new Error("disk");
};

/** A breaker on a clock that stands still until it is moved. */
function rig(config: Partial<BreakerConfig> = {}, wiring: BreakerWiring = {}) {
  const clock = { ms: 1_000 };
  const breaker = new Breaker(
    "binance.order",
    { failureThreshold: 2, openMs: 500, openJitter: 0, ...config },
    { now: () => clock.ms, wallNow: () => 1e12 + clock.ms, ...wiring },
  );
  const fail = async (cause: unknown = new Error("reset by peer")): Promise<void> => {
    await expect(breaker.call(() => Promise.reject(cause))).rejects.toBe(cause);
  };
  return { breaker, clock, fail };
}

class NetworkError extends Error {
  override readonly name: string = "NetworkError";
}
class BaseError extends Error {}
class ExchangeError extends BaseError {}
class InsufficientFunds extends ExchangeError {
  override readonly name = "InsufficientFunds";
}
class RateLimitExceeded extends BaseError {
  override readonly name = "RateLimitExceeded";
  readonly headers = { "Retry-After": "7" };
}

test("Breaker.call() rejects with CircuitOpenError without calling while open, and says for how long", async () => {
  const { breaker, clock, fail } = rig();
  const last = new NetworkError("no route");
  await fail();
  await fail(last);
  clock.ms += 100;
  let called = false;
  const error = await breaker.call(() => (called = true)).catch((given: unknown) => given);
  expect(called).toBe(false);
  expect(error).toBeInstanceOf(CircuitOpenError);
  expect(error).toMatchObject({ breaker: "binance.order", state: "open", retryAfterMs: 400, cause: last });
  expect(String(error)).toBe(
    "CircuitOpenError: cannot call binance.order: its breaker is open, for 400 ms more (2 failures in a row, the last with NetworkError)",
  );
});

test("Breaker.call() gives back what was returned, thrown and rejected, also what is no promise", async () => {
  const { breaker } = rig({ failureThreshold: 100 });
  expect(await breaker.call(() => 1)).toBe(1);
  expect(await breaker.call(async () => 2)).toBe(2);
  await expect(breaker.call(() => Promise.reject(new Error("a")))).rejects.toThrow("a");
  await expect(breaker.call(broken)).rejects.toThrow("disk");
  expect(breaker.stats()).toMatchObject({ calls: 4, successes: 2, failures: 2 });
});

test("Breaker.callSync() counts what returns undefined as a success, and opens on what throws", () => {
  const { breaker } = rig();
  expect(breaker.callSync(() => undefined)).toBeUndefined();
  const fail = () =>
    breaker.callSync(() => {
      throw new Error("x");
    });
  expect(fail).toThrow("x");
  expect(fail).toThrow("x");
  expect(fail).toThrow(CircuitOpenError);
  expect(breaker.stats()).toMatchObject({ successes: 1, failures: 2, rejected: 1, rejectionRate: 0.25 });
});

test("Breaker.callSync() that takes too long is a failure, and its value is given", () => {
  const { breaker, clock } = rig({ slowCallMs: 100 });
  expect(breaker.callSync(() => (clock.ms += 100))).toBe(1_100);
  expect(breaker.stats()).toMatchObject({ failures: 1, slow: 1, successes: 0 });
});

test("Breaker.wrap() and guard() pass on this and arguments", async () => {
  const { breaker } = rig();
  const client = {
    base: 10,
    add: breaker.wrap(async function add(this: { base: number }, a: number, b: number) {
      return this.base + a + b;
    }),
  };
  expect(await client.add(1, 2)).toBe(13);
  const price = guard("guarded", { failureThreshold: 1 })(async (symbol: string) => Promise.reject(new Error(symbol)));
  await expect(price("BTC")).rejects.toThrow("BTC");
  await expect(price("BTC")).rejects.toThrow(CircuitOpenError);
  expect(getBreaker("guarded").state).toBe("open");
});

test("Breaker.tryEnter() lets through or not, and only its first end counts", () => {
  const { breaker } = rig({ failureThreshold: 1 });
  const passage = breaker.tryEnter();
  passage?.exit();
  passage?.exit(new Error("late"));
  expect(breaker.stats()).toMatchObject({ calls: 1, successes: 1, failures: 0, state: "closed" });
  breaker.tryEnter()?.exit(new Error("x"));
  expect(breaker.tryEnter()).toBeUndefined();
  expect(breaker.rejection()).toMatchObject({ state: "open", retryAfterMs: 500 });
});

test("Breaker counts errors of the venue by their class: refusals say nothing against it, a limit opens it for as long as it asks", async () => {
  const { breaker, fail } = rig();
  await fail(new InsufficientFunds("no"));
  await fail(new InsufficientFunds("no"));
  await fail(new InsufficientFunds("no"));
  expect(breaker.stats()).toMatchObject({ state: "closed", ignored: 3, failures: 0 });
  await fail(new RateLimitExceeded("429"));
  expect(breaker.stats()).toMatchObject({ state: "open", retryAfterMs: 7_000, failures: 1 });
});

test("Breaker.onStateChange() tells each change once it is true, and an error of a hook stops nothing", async () => {
  const errors: unknown[] = [];
  const { breaker, clock, fail } = rig({ successThreshold: 1 }, { onError: (error) => errors.push(error) });
  const seen: (BreakerChange & { readonly now: string })[] = [];
  breaker.onStateChange(() => {
    throw new Error("hook");
  });
  const end = breaker.onStateChange((change) => seen.push({ ...change, now: breaker.state }));
  await fail();
  await fail();
  clock.ms += 500;
  await breaker.call(() => 1);
  end();
  breaker.forceOpen("maintenance");
  expect(seen.map(({ from, to, now, reason }) => [from, to, now, reason])).toEqual([
    ["closed", "open", "open", "2 failures in a row, the last with Error"],
    ["open", "half-open", "half-open", "2 failures in a row, the last with Error"],
    ["half-open", "closed", "closed", null],
  ]);
  expect(errors).toHaveLength(4);
});

test("Breaker goes on from its store: open stays open, the rest of its time", async () => {
  const saved = new Map<string, SavedBreaker>();
  const store = {
    load: (name: string) => saved.get(name),
    save: (name: string, one: SavedBreaker) => void saved.set(name, one),
  };
  const first = rig({}, { store });
  await first.fail();
  await first.fail();
  const later = { now: () => 77, wallNow: () => 1e12 + 1_200 };
  const second = new Breaker("binance.order", { failureThreshold: 2, openMs: 500, openJitter: 0 }, { store, ...later });
  expect(second.stats()).toMatchObject({ state: "open", retryAfterMs: 300, failures: 2 });
});

test("Breaker works on when its store does not", async () => {
  const errors: unknown[] = [];
  const { breaker, fail } = rig({}, { store: { load: broken, save: broken }, onError: (error) => errors.push(error) });
  await fail();
  await fail();
  expect(breaker.state).toBe("open");
  expect(errors).toHaveLength(2);
});

test("createBreakers() gives one breaker per name, and refuses other settings for it", () => {
  const breakers = createBreakers();
  const first = breakers.get("okx.market", { openMs: 1_000 });
  expect(breakers.get("okx.market")).toBe(first);
  expect(breakers.get("okx.market", { openMs: 1_000, failureThreshold: 5 })).toBe(first);
  expect(() => breakers.get("okx.market", { openMs: 2_000 })).toThrow(
    "cannot get breaker okx.market: it was made with other settings of openMs",
  );
  expect(() => breakers.get("okx.order", { failureRate: 50 })).toThrow(
    "cannot make breaker okx.order: failureRate is 50; it is a share: use up to 1",
  );
  expect(breakers.stats().map(({ name }) => name)).toEqual(["okx.market"]);
});

test.each([
  [{ retryAfterMs: 5 }, 5],
  [{ retryAfter: 2 }, 2_000],
  [{ headers: { "RETRY-AFTER": "3" } }, 3_000],
  [{ headers: new Headers({ "retry-after": "4" }) }, 4_000],
  [{ headers: { "retry-after": new Date(1e12 + 5_000).toUTCString() } }, 5_000],
  [
    {
      message: `binance 418 {"code":-1003,"msg":"Way too much request weight used; IP banned until ${1e12 + 9_000}."}`,
    },
    9_000,
  ],
  [new Error("x"), undefined],
  ["text", undefined],
])("retryAfterMsOf() of %o is %s", (error, expected) => {
  expect(retryAfterMsOf(error, 1e12)).toBe(expected);
});
