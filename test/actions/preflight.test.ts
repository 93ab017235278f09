/** The preflight against both paper exchanges: what it finds, and that it changes nothing. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { preflight } from "../../src/actions/preflight.ts";
import type { CcxtAccess, ExecAccess } from "../../src/core/close-job.ts";
import { preflightTrouble, preflightWarning } from "../../src/core/preflight.ts";
import type { PreflightJob, PreflightReport } from "../../src/core/preflight.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { holdings, speedClock, startRig, VENUES, type Rig } from "./rig.ts";

type Changes = Partial<Omit<PreflightJob, "venue">> & { readonly venue?: Partial<CcxtAccess> };

function fly(rig: Rig, { venue, ...changes }: Changes = {}, clock = systemClock): Promise<PreflightReport> {
  const marketsFile = join(rig.folder, "markets.json");
  const access = rig.job({ venue: { marketsFile, ...venue } }).venue;
  return preflight(
    { version: 1, bot: "momentum", account: "main", allowWithdraw: false, drill: false, venue: access, ...changes },
    clock,
  );
}

const of = ({ checks }: PreflightReport, name: string) => checks.find((check) => check.name === name);
/** Requests that could change the account; Binance's order/test cannot. */
const changing = ({ paper }: Rig): string[] =>
  Object.keys(paper.state().requests).filter((label) => !label.startsWith("GET ") && !label.endsWith("/order/test"));

for (const exchange of ["binance", "okx"] as const) {
  test.concurrent(`preflight() is green for a good key at ${exchange}, and changes nothing`, async () => {
    await using rig = startRig({ exchange, symbols: 3 });
    await rig.control("seed", holdings(3));
    const report = await fly(rig);
    expect(report).toMatchObject({ ok: true, exitCode: 0, exchange: VENUES[exchange].exchange });
    expect(report.checks.map(({ name, result }) => [name, result])).toEqual(
      expect.arrayContaining(
        ["read", "trade", "withdraw", "positionMode", "clock", "markets", "plan"].map((name) => [name, "ok"]),
      ),
    );
    expect(of(report, "plan")?.detail).toBe("would send 3 orders first");
    expect(report.firstReplyMs).toBeGreaterThan(0);
    expect(changing(rig)).toEqual([]);
    expect(rig.paper.state()).toMatchObject({ fills: [], violations: [], positions: [{}, {}, {}] });
  });

  test.concurrent(`preflight() finds that the key may not trade at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { canTrade: false });
    const report = await fly(rig);
    expect(report).toMatchObject({ ok: false, exitCode: 13 });
    expect(of(report, "trade")?.result).toBe("failed");
  });

  test.concurrent(`preflight() finds that the key may withdraw at ${exchange}, unless that is allowed`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { canWithdraw: true });
    expect(of(await fly(rig), "withdraw")?.result).toBe("failed");
    expect(await fly(rig, { allowWithdraw: true })).toMatchObject({ ok: true });
  });

  test.concurrent(`preflight() finds another account than the configured one at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    const report = await fly(rig, { venue: { uid: "somebody-else" } });
    expect(report).toMatchObject({ ok: false, exitCode: 12 });
    expect(of(report, "account")?.detail).toContain("somebody-else");
    expect(await fly(rig, { venue: { uid: exchange === "okx" ? "1" : "paper" } })).toMatchObject({ ok: true });
  });

  test.concurrent(`preflight() finds a clock that is off at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { skewMs: 4_000 });
    const report = await fly(rig);
    expect(of(report, "clock")?.result).toBe("failed");
    expect(report).toMatchObject({ ok: false, exitCode: 1 });
  });

  test.concurrent(`preflight() tells the position mode of ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { hedge: true });
    expect(of(await fly(rig), "positionMode")?.detail).toBe("hedge");
  });

  test.concurrent(`preflight() reports a venue that cannot be read as 14, and a wrong key as 13, at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    expect(await fly(rig, { venue: { apiSecret: "wrong" } })).toMatchObject({ ok: false, exitCode: 13 });
    await rig.control("fault", { kind: "http", match: VENUES[exchange].positions, status: 503, times: 100 });
    expect(await fly(rig)).toMatchObject({ ok: false, exitCode: 14 });
  });

  test.concurrent(`a close from the markets that a preflight kept needs no list of markets from ${exchange}`, async () => {
    await using rig = startRig({ exchange, symbols: 3 });
    await rig.control("seed", holdings(3));
    await fly(rig);
    await rig.control("fault", { kind: "http", match: VENUES[exchange].markets, status: 503, times: 1_000 });
    const before = rig.paper.state().requests[VENUES[exchange].markets] ?? 0;
    const marketsFile = join(rig.folder, "markets.json");
    const report = await rig.close({ venue: { marketsFile } });
    expect(report).toMatchObject({ outcome: "flat", verified: true });
    expect(rig.paper.state()).toMatchObject({ flat: true, flips: [] });
    expect(rig.paper.state().requests[VENUES[exchange].markets] ?? 0).toBe(before);
  });

  test.concurrent(`a close refuses another account than the configured one at ${exchange}`, async () => {
    await using rig = startRig({ exchange, symbols: 1 });
    await rig.control("seed", holdings(1));
    const report = await rig.close({ venue: { uid: "somebody-else" } });
    expect(report).toMatchObject({ outcome: "refused" });
    expect(report.reason).toContain("the key may open another account");
    expect(changing(rig)).toEqual([]);
    const own = await rig.close({ venue: { uid: exchange === "okx" ? "1" : "paper" } });
    expect(own.outcome).toBe("flat");
  });

  test.concurrent(`the drill places, sees and cancels an order in the sandbox of ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    const report = await fly(rig, { drill: true, venue: { sandbox: true } });
    expect(of(report, "drill")).toMatchObject({ result: "ok" });
    expect(rig.paper.state()).toMatchObject({ flat: true, fills: [] });
  });
}

test.concurrent("preflight() warns of markets that cannot be kept, and a close would work all the same", async () => {
  await using rig = startRig();
  const report = await fly(rig, { venue: { marketsFile: join("/dev/full", "markets.json") } });
  expect(report).toMatchObject({ ok: true, exitCode: 0 });
  expect(of(report, "markets")).toMatchObject({
    result: "warning",
    detail: expect.stringMatching(/^\d+ markets?, which cannot be kept: .*: cannot write \/dev\/full/),
  });
  expect(preflightTrouble(report)).toBeUndefined();
  expect(preflightWarning(report)).toContain("markets: ");
});

test.concurrent("preflight() does not call a clock wrong for an answer that took long", async () => {
  await using rig = startRig();
  await rig.control("fault", { kind: "latency", match: "GET /fapi/v1/time", ms: 2_500, times: 10 });
  expect(of(await fly(rig), "clock")?.result).toBe("unknown");
});

test.concurrent("a close asks the venue for its markets when the kept ones lack what is open", async () => {
  await using rig = startRig({ symbols: 2 });
  await fly(rig);
  const marketsFile = join(rig.folder, "markets.json");
  const kept = JSON.parse(await Bun.file(marketsFile).text());
  delete kept.markets["S01/USDT:USDT"];
  await Bun.write(marketsFile, JSON.stringify(kept));
  await rig.control("seed", holdings(2));
  expect(await rig.close({ venue: { marketsFile } })).toMatchObject({ outcome: "flat", verified: true });
  expect(rig.paper.state().flat).toBe(true);
});

test.concurrent("a close does without the kept markets when they are old, of another venue, or damaged", async () => {
  await using rig = startRig({ symbols: 1 });
  const marketsFile = join(rig.folder, "markets.json");
  for (const spoil of ["old", "endpoint", "text"] as const) {
    rmSync(marketsFile, { force: true });
    await fly(rig);
    const kept = JSON.parse(await Bun.file(marketsFile).text());
    const spoilt = { old: { ...kept, savedAtMs: 0 }, endpoint: { ...kept, endpoint: "https://elsewhere" }, text: "{" };
    await Bun.write(marketsFile, JSON.stringify(spoilt[spoil]));
    await rig.control("seed", holdings(1));
    const before = rig.paper.state().requests["GET /fapi/v1/exchangeInfo"] ?? 0;
    expect(await rig.close({ incident: `abc${spoil}`.slice(0, 9), venue: { marketsFile } })).toMatchObject({
      outcome: "flat",
    });
    expect(rig.paper.state().requests["GET /fapi/v1/exchangeInfo"]).toBe(before + 1);
  }
});

test.concurrent("preflight() says of a venue that it does not know the rights of that they are unknown", async () => {
  await using rig = startRig();
  const report = await fly(rig, { venue: { exchange: "nowhere" } });
  expect(report).toMatchObject({ ok: false, exitCode: 15 });
  expect(existsSync(join(rig.folder, "markets.json"))).toBe(false);
});

test.concurrent("preflight() ends within its budget at a venue that never answers", async () => {
  await using rig = startRig();
  await rig.control("fault", { kind: "stallBody", match: "GET /fapi", times: 1_000 });
  expect(await fly(rig, {}, speedClock(30))).toMatchObject({ ok: false, exitCode: 14 });
});

/** A hook of one line of shell. */
const saying = (text: string): ExecAccess => ({
  driver: "exec",
  exchange: "exec",
  symbols: [],
  timeoutMs: 1_000,
  cwd: "/",
  env: {},
  command: ["/bin/sh", "-c", `cat > /dev/null; echo '${text}'`],
});

test.concurrent("preflight() asks the hook beside the driver what it says of itself, and nothing else", async () => {
  await using rig = startRig();
  const good = await fly(rig, { hook: saying('{"ok":true}') });
  expect([good.exitCode, of(good, "hook")?.result]).toEqual([0, "ok"]);
  const bad = await fly(rig, { hook: saying('{"ok":false,"error":{"class":"auth"}}') });
  expect([bad.exitCode, of(bad, "hook")?.result]).toEqual([1, "failed"]);
});

test.concurrent("preflight() of a spot wallet knows the rights of its key, and sends an order that is only tested", async () => {
  await using rig = startRig({ exchange: "binance-spot", symbols: 2 });
  await rig.control("seed", { positions: [{ symbol: "S00USDT", side: "long", amount: 5 }] });
  const good = await fly(rig, { venue: { uid: "1" } });
  expect(good).toMatchObject({ ok: true, exitCode: 0 });
  expect(good.checks.map(({ name, result }) => [name, result])).toEqual(
    expect.arrayContaining(
      ["account", "read", "trade", "withdraw", "clock", "markets", "plan"].map((name) => [name, "ok"]),
    ),
  );
  expect(changing(rig)).toEqual([]);
  await rig.control("set", { canTrade: false, canWithdraw: true });
  const bad = await fly(rig);
  expect([bad.exitCode, of(bad, "trade")?.result, of(bad, "withdraw")?.result]).toEqual([13, "failed", "failed"]);
});

test.concurrent.each(["cross", "isolated"] as const)(
  "preflight() of %s margin knows the account, its level and the rights of its key, and changes nothing",
  async (mode) => {
    await using rig = startRig({ exchange: "binance-margin" });
    const pair = mode === "cross" ? {} : { pair: "BTCUSDT" };
    await rig.control("seed", {
      margin: [
        { ...pair, asset: "BTC", free: 1 },
        { ...pair, asset: "USDT", borrowed: 30_000 },
      ],
    });
    const venue = { margin: { mode, keep: [], ...(mode === "cross" ? { quote: "USDT" } : {}) } };
    const good = await fly(rig, { venue });
    expect(good).toMatchObject({ ok: true, exitCode: 0 });
    const names = ["read", "margin", "trade", "withdraw", "clock", "markets", "plan"];
    expect(good.checks.map(({ name, result }) => [name, result])).toEqual(
      expect.arrayContaining(names.map((name) => [name, "ok"])),
    );
    expect(of(good, "margin")?.detail).toMatch(mode === "cross" ? /margin level 2\.25/ : /1 wallets? of pairs/);
    expect(changing(rig)).toEqual([]);
    await rig.control("set", { canTrade: false, canWithdraw: true });
    const bad = await fly(rig, { venue });
    expect([bad.exitCode, of(bad, "trade")?.result, of(bad, "withdraw")?.result]).toEqual([13, "failed", "failed"]);
  },
);

test.concurrent("preflight() of margin says where the venue has no such account", async () => {
  await using rig = startRig({ exchange: "binance-margin" });
  const gone = { kind: "apiCode", code: -3003, msg: "Margin account does not exist.", times: 100 };
  await rig.control("fault", { ...gone, match: "GET /sapi/v1/margin/account" });
  const report = await fly(rig);
  expect([report.exitCode, of(report, "margin")?.result]).toEqual([14, "failed"]);
  expect(of(report, "margin")?.detail).toContain("is cross margin enabled?");
});
