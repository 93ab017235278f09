/** The drivers exec and webhook: real processes and requests against the paper exchange, and what a hook may answer without harm. */
import { createHmac } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { closePositions } from "../../src/actions/close-positions.ts";
import type { CloseReport, ExecAccess, HookAccess, WebhookAccess } from "../../src/core/close-job.ts";
import { asRecord } from "../../src/actions/venue/exchange.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { API_KEY, API_SECRET, bothLegs, holdings, startRig } from "./rig.ts";
import type { Rig } from "./rig.ts";

// They wait for rounds and quiet periods in real time, since the hooks are other processes.
vi.setConfig({ maxConcurrency: 12 });

const HOOK = join(import.meta.dirname, "../../config/hooks/binance-usdm.py");
const PYTHON = ["/usr/bin/python3", "/usr/local/bin/python3"].find((path) => existsSync(path));
const REAL_DEADLINE_MS = 60_000;

type Common = "exchange" | "symbols" | "timeoutMs";
type Hook = (Omit<ExecAccess, Common> | Omit<WebhookAccess, Common>) & { readonly timeoutMs?: number };

async function closeBy(rig: Rig, hook: Hook, mode: "plan" | "close" = "close"): Promise<CloseReport> {
  const venue: HookAccess = { exchange: hook.driver, symbols: [], ...hook, timeoutMs: hook.timeoutMs ?? 30_000 };
  return closePositions({ ...rig.job(), mode, venue }, { progress: () => undefined, clock: systemClock });
}

/** A hook of one line of shell. */
function shellHook(script: string): Omit<ExecAccess, Common> {
  return { driver: "exec", command: ["/bin/sh", "-c", script], cwd: "/", env: { PATH: "/usr/bin:/bin" } };
}

describe.concurrent("the hook of config/hooks", () => {
  const missing = PYTHON === undefined ? " (skipped: there is no python3)" : "";
  test.skipIf(PYTHON === undefined).each([
    { name: "one-way", hedge: false },
    { name: "hedge", hedge: true },
  ])(
    `closePositions() by the Python hook ends flat in $name mode${missing}`,
    async ({ hedge }) => {
      await using rig = startRig({ symbols: 4 });
      await rig.control("set", { hedge });
      await rig.control("seed", hedge ? bothLegs(2) : holdings(3));
      const report = await closeBy(rig, {
        driver: "exec",
        command: [PYTHON ?? "", HOOK],
        cwd: "/",
        env: { EXCHANGE_URL: rig.paper.url, EXCHANGE_KEY: API_KEY, EXCHANGE_SECRET: API_SECRET },
      });
      expect(report).toMatchObject({ outcome: "flat", verified: true, exchange: "exec", foreign: [] });
      expect(rig.paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
      expect(report.orders.every(({ outcome, average }) => outcome === "accepted" && average !== undefined)).toBe(true);
    },
    REAL_DEADLINE_MS,
  );

  test.skipIf(PYTHON === undefined)(
    `closePositions() by the Python hook says that the key is refused${missing}`,
    async () => {
      await using rig = startRig();
      const env = { EXCHANGE_URL: rig.paper.url, EXCHANGE_KEY: "wrong", EXCHANGE_SECRET: "wrong" };
      const hook = { command: [PYTHON ?? "", HOOK], cwd: "/", env };
      expect(await closeBy(rig, { driver: "exec", ...hook }, "plan")).toMatchObject({ outcome: "keyRefused" });
    },
    REAL_DEADLINE_MS,
  );
});

describe.concurrent("driver exec", () => {
  test(
    "closePositions() never calls an account flat whose hook cannot show it",
    async () => {
      await using rig = startRig();
      const asked = join(rig.folder, "asked");
      const report = await closeBy(
        rig,
        shellHook(
          `line=$(cat); echo "$line" >> ${asked}; case $line in *'"snapshot"'*) echo '{"ok":false,"error":{"class":"unsupported"}}' ;; *) echo '{"ok":true,"placed":"yes"}' ;; esac`,
        ),
      );
      expect(report).toMatchObject({ outcome: "residual", verified: false });
      expect(report.reason).toContain("look at the account by hand");
      const requests = readFileSync(asked, "utf8")
        .trim()
        .split("\n")
        .map((line): unknown => JSON.parse(line));
      expect(requests).toMatchObject([
        { op: "snapshot" },
        { op: "cancel", reduceOnly: true },
        { v: 1, op: "close", incident: "abc123", reduceOnly: true },
      ]);
      // Everything is meant.
      expect(requests[2]).not.toHaveProperty("symbol");
    },
    REAL_DEADLINE_MS,
  );

  test.each([
    { name: "writes nothing", script: "cat" },
    {
      name: "fails after a clean answer",
      script: `cat > /dev/null; echo '{"ok":true,"positions":[],"orders":[]}'; exit 3`,
    },
    {
      name: "answers twice",
      script: `cat > /dev/null; for n in 1 2; do echo '{"ok":true,"positions":[],"orders":[]}'; done`,
    },
    { name: "leaves the orders out", script: `cat > /dev/null; echo '{"ok":true,"positions":[]}'` },
    {
      name: "names a position of negative size",
      script: `cat > /dev/null; echo '{"ok":true,"positions":[{"symbol":"X","side":"long","amount":-1}],"orders":[]}'`,
    },
  ])(
    "closePositions() cannot read the account of a hook that $name",
    async ({ script }) => {
      await using rig = startRig();
      const report = await closeBy(rig, { ...shellHook(script), timeoutMs: 1_000 });
      expect(report).toMatchObject({ outcome: "unreadable", verified: false, orders: [] });
      expect(report.reason).toMatch(/^cannot read the account at the hook \/bin\/sh: (the hook ended|its answer) /);
    },
    REAL_DEADLINE_MS,
  );
});

describe.concurrent("createExecPort()", () => {
  test(
    "closePositions() gives an exec hook no other environment than its allow-list",
    async () => {
      await using rig = startRig();
      const seen = join(rig.folder, "env");
      const hook = shellHook(`env > ${seen}; cat > /dev/null; echo '{"ok":true,"positions":[],"orders":[]}'`);
      const env = { PATH: "/usr/bin:/bin", EXCHANGE_KEY: "k" };
      expect(await closeBy(rig, { ...hook, env }, "plan")).toMatchObject({ outcome: "flat" });
      const names = readFileSync(seen, "utf8")
        .trim()
        .split("\n")
        .map((line) => line.split("=", 1)[0]);
      // The shell itself sets PWD and the like.
      const given = names.filter((name) => !["PWD", "OLDPWD", "SHLVL", "_"].includes(name ?? ""));
      expect(new Set(given)).toEqual(new Set(["EXCHANGE_KEY", "PATH"]));
    },
    REAL_DEADLINE_MS,
  );
});

describe.concurrent("driver webhook", () => {
  const secret = "a-secret-of-the-webhook";

  test(
    "closePositions() by a webhook signs time and body, and names each order by its idempotency key",
    async () => {
      await using rig = startRig();
      let amount = 2;
      const wrong: string[] = [];
      const keys: string[] = [];
      using server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: async (request) => {
          const body = await request.text();
          const time = request.headers.get("x-supervisor-timestamp") ?? "";
          const signature = `v1=${createHmac("sha256", secret).update(`${time}.${body}`).digest("hex")}`;
          if (request.headers.get("x-supervisor-signature") !== signature) wrong.push(body);
          const { op, id } = asRecord(JSON.parse(body));
          if (request.headers.get("idempotency-key") !== id) wrong.push(body);
          if (op === "close") {
            keys.push(String(id));
            amount = 0;
            return Response.json({ ok: true, placed: "yes", filled: "2", average: 100.5 });
          }
          const positions = amount === 0 ? [] : [{ symbol: "BTC-PERP", side: "short", amount: "2", markPrice: 100 }];
          return Response.json(op === "snapshot" ? { ok: true, positions, orders: [] } : { ok: true });
        },
      });
      const report = await closeBy(rig, { driver: "webhook", url: server.url.href, secret });
      expect(report).toMatchObject({ outcome: "flat", verified: true });
      expect(report.orders).toMatchObject([
        { id: keys[0], symbol: "BTC-PERP", side: "buy", filled: 2, average: 100.5 },
      ]);
      expect({ wrong, closes: keys.length }).toEqual({ wrong: [], closes: 1 });
    },
    REAL_DEADLINE_MS,
  );

  test.each([
    { name: "redirects", respond: () => Response.redirect("http://127.0.0.1:1/", 302) },
    { name: "answers 202 without a body", respond: () => new Response(null, { status: 202 }) },
    { name: "answers 500", respond: () => Response.json({ ok: true, positions: [], orders: [] }, { status: 500 }) },
    { name: "answers with HTML", respond: () => new Response("<html></html>") },
  ])(
    "closePositions() cannot read the account of a webhook that $name",
    async ({ respond }) => {
      await using rig = startRig();
      using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: respond });
      const report = await closeBy(rig, { driver: "webhook", url: server.url.href, secret, timeoutMs: 1_000 });
      expect(report).toMatchObject({ outcome: "unreadable", verified: false, orders: [] });
      expect(report.reason).toContain(`cannot read the account at the hook ${server.url.origin}: `);
      expect(JSON.stringify(report)).not.toContain(secret);
    },
    REAL_DEADLINE_MS,
  );
});

/** Orders of ccxt, whose query begins so; the Python hook's begins with the symbol. */
const CCXT_ORDER = "POST /fapi/v1/order?timestamp=";

const python = (rig: Rig): ExecAccess => ({
  driver: "exec",
  exchange: "exec",
  symbols: [],
  timeoutMs: 30_000,
  command: [PYTHON ?? "", HOOK],
  cwd: "/",
  env: { EXCHANGE_URL: rig.paper.url, EXCHANGE_KEY: API_KEY, EXCHANGE_SECRET: API_SECRET },
});

describe.concurrent("a hook beside ccxt", () => {
  const missing = PYTHON === undefined ? " (skipped: there is no python3)" : "";
  test.skipIf(PYTHON === undefined).each([
    { name: "refuses", fault: { kind: "apiCode", code: -1116, msg: "Invalid orderType." } },
    { name: "loses", fault: { kind: "dropBefore" } },
  ])(
    `closePositions() gives the hook the orders that the venue $name for ever, and reads the account itself${missing}`,
    async ({ fault }) => {
      await using rig = startRig({ symbols: 4 });
      await rig.control("seed", holdings(2));
      await rig.control("fault", { match: CCXT_ORDER, times: 1_000, ...fault });
      const report = await rig.close({ hook: python(rig) });
      expect(report).toMatchObject({ outcome: "flat", exchange: "binanceusdm", verified: true });
      const accepted = report.orders.filter(({ outcome }) => outcome === "accepted");
      expect(accepted.map(({ by }) => by)).toEqual(["hook", "hook"]);
      expect(rig.paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    },
    REAL_DEADLINE_MS,
  );

  test.skipIf(PYTHON === undefined)(
    `closePositions() leaves the whole close to the hook when the venue refuses the key${missing}`,
    async () => {
      await using rig = startRig({ symbols: 4 });
      await rig.control("seed", holdings(2));
      const report = await rig.close({ venue: { apiKey: "wrong" }, hook: python(rig) });
      expect(report).toMatchObject({ outcome: "flat", verified: true });
      expect(report.reason).toContain("the hook closed, since binanceusdm did not");
      expect(rig.paper.state()).toMatchObject({ flat: true, flips: [] });
    },
    REAL_DEADLINE_MS,
  );

  test(
    "closePositions() tells the hook nothing when the driver closes by itself",
    async () => {
      await using rig = startRig({ symbols: 4 });
      await rig.control("seed", holdings(2));
      const asked = join(rig.folder, "asked");
      const hook = { ...python(rig), ...shellHook(`cat >> ${asked}`) };
      expect(await rig.close({ hook })).toMatchObject({ outcome: "flat" });
      expect(existsSync(asked)).toBe(false);
    },
    REAL_DEADLINE_MS,
  );
});

test.concurrent.each([
  ["names that the venue has not", "binance", { symbols: ["BTC/USDT:TYPO"] }, "unsupported"],
  ["a wallet, of which it does not know what is to be kept", "binance-spot", { apiKey: "wrong" }, "keyRefused"],
] as const)(
  "closePositions() does not leave the account to the hook for %s",
  async (_, exchange, { ...venue }, outcome) => {
    await using rig = startRig({ symbols: 4, exchange });
    const asked = join(rig.folder, "asked");
    const symbols = "symbols" in venue ? [...venue.symbols] : [];
    const report = await rig.close({
      venue: { ...venue, symbols },
      hook: { ...python(rig), ...shellHook(`cat >> ${asked}`), symbols },
    });
    expect(report).toMatchObject({ outcome, verified: false });
    expect(existsSync(asked)).toBe(false);
  },
  REAL_DEADLINE_MS,
);
