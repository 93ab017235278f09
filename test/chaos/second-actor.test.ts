/** Something else that trades on the account, which no supervisor knows of: the close says so by its exit code 11, on both venues. */
import { expect, test } from "vitest";
import { program, STAY } from "./fixture.ts";
import { CREDENTIALS, emergencyAt, Rig, until } from "./harness.ts";
import { PASSPHRASE, startPaper, type Paper } from "./paper.ts";

type Venue = "binance" | "okx";
const { apiKey, apiSecret } = CREDENTIALS;
/** As often as a bot that goes on as if nothing were, and one that is seen only after the account was flat: in the shortest quiet period, ms. */
const PAUSES = [40, 500];
const rows = (["binance", "okx"] as const).flatMap((venue) => PAUSES.map((pauseMs) => ({ venue, pauseMs })));

function rigOn(venue: Venue, paper: Paper): Rig {
  const okx = venue === "okx" ? { exchange: "okx", passphraseFile: "paper.passphrase" } : {};
  const emergency = emergencyAt(paper.url, { ...okx, timeout: "20s", maxOrders: 30 });
  const rig = new Rig({ bots: { bot: { command: STAY, emergency } } });
  rig.write("paper.passphrase", PASSPHRASE);
  return rig;
}

/** A process of its own that only ever buys. */
function startActor(venue: Venue, paper: Paper, pauseMs: number): AsyncDisposable & { readonly pid: number } {
  const argv = program("trade-on.ts", paper.url, apiKey, apiSecret, String(pauseMs), venue, PASSPHRASE);
  const child = Bun.spawn(argv, { cwd: "/", env: {}, stdio: ["ignore", "ignore", "inherit"] });
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test.concurrent.each(rows)(
  "supervisor emergency close exits 11 while something else trades each $pauseMs ms at $venue, and turns nothing",
  async ({ venue, pauseMs }) => {
    await using paper = await startPaper({ venue });
    await using rig = rigOn(venue, paper);
    await rig.run();
    await rig.botIn("running");
    await using _ = startActor(venue, paper, pauseMs);
    await until("the other one trades", () => paper.state().fills.length > 0);
    const close = await rig.cli("emergency", "close", "bot", "--yes", "--json");
    expect(close).toMatchObject({ code: 11 });
    // Safe: the command's own JSON.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const { report } = JSON.parse(close.out) as { report: object };
    expect(report).toMatchObject({
      outcome: "foreign",
      verified: false,
      foreign: [expect.stringContaining("BTC/USDT")],
    });
    expect(paper.state().flips).toEqual([]);
    expect(await rig.botIn("locked")).toMatchObject({ pid: null });
  },
);
