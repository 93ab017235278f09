/** A section with a wrong name hides no mistake in it: one look shows all, at the places where they are written. */
import { expect, test } from "vitest";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

function said(text: string): string[] {
  return folder.mistakes(text).map((line) => line.replace("bot.yaml:", ""));
}

const SHOWN = "is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)";

test("the mistakes in a section with a mistyped name are told together with its name, also two such sections deep", () => {
  const text = botWith(
    "restrat:",
    "  base: 1",
    "  capp: 2s",
    "limit: { memory: 5MB }",
    "emergncy:",
    "  exchange: binance",
    "  apiKeyFile: k",
    "  apiSecretFile: s",
    "  preflght: { period: 3 }",
    "stopTimeout: 30",
  );
  expect(said(text)).toEqual([
    '5: bots.a.restrat: unknown key; did you mean "restart"?',
    `6: bots.a.restrat.base: "1" ${SHOWN}`,
    '7: bots.a.restrat.capp: unknown key; did you mean "cap"?',
    '8: bots.a.limit: unknown key; did you mean "limits"?',
    '8: bots.a.limit.memory: "5MB" is not a size; write it as 512KiB, 1500MiB or 2GiB',
    '9: bots.a.emergncy: unknown key; did you mean "emergency"?',
    '13: bots.a.emergncy.preflght: unknown key; did you mean "preflight"?',
    `13: bots.a.emergncy.preflght.period: "3" ${SHOWN}`,
    `14: bots.a.stopTimeout: "30" ${SHOWN}`,
  ]);
});

test("the mistakes of bots are told where the word bots is mistyped", () => {
  expect(said("version: 1\nbot:\n  a: { command: [x], stopTimeout: 30 }\n")).toEqual([
    expect.stringMatching(/^1: bots: is missing; add it/),
    '2: bot: unknown key; did you mean "bots"?',
    `3: bot.a.stopTimeout: "30" ${SHOWN}`,
  ]);
});

test("the mistakes of a bot, a store and a target with names that they cannot have are told with these names", () => {
  const text = [
    "version: 1",
    "bots:",
    "  Momentum: { command: [x], stopTimeout: 30 }",
    "  other: { command: [x], account: Momentum }",
    "backups:",
    "  stores:",
    "    Local: { kind: directory, pth: /b }",
    "  targets:",
    "    My DB: { kind: sqlite }",
    "",
  ].join("\n");
  const lines = said(text);
  expect(lines).toContain(`3: bots.Momentum.stopTimeout: "30" ${SHOWN}`);
  expect(lines).toContain('7: backups.stores.Local.pth: unknown key; did you mean "path"?');
  expect(lines.filter((line) => line.startsWith("9: backups.targets.My DB.path: is missing"))).toHaveLength(1);
  expect(lines.join("\n")).not.toContain("unnamed");
});

test("a mistyped section beside one of the right name, and a key that is no section, add nothing", () => {
  expect(said(botWith("restart: { base: 1s }", "restrat: { base: 1 }", "stopTimout: 30"))).toEqual([
    '6: bots.a.restrat: unknown key; did you mean "restart"?',
    '7: bots.a.stopTimout: unknown key; did you mean "stopTimeout"?',
  ]);
});
