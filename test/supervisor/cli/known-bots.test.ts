import { expect, test } from "vitest";
import { command as events } from "../../../src/supervisor/cli/events.ts";
import { command as logs } from "../../../src/supervisor/cli/logs.ts";
import type { Verb } from "../../../src/supervisor/cli/verb.ts";
import { statusOf } from "../../harness/status-sample.ts";
import { VerbRig } from "./verb-rig.ts";

const verbs: readonly (readonly [string, Verb, readonly string[]])[] = [
  ["logs nosuch", logs, ["nosuch"]],
  ["events --bot nosuch", events, ["--bot", "nosuch"]],
  ["events -f --bot nosuch", events, ["-f", "--bot", "nosuch"]],
];

const refusal = (names: string) => ({ message: `cannot find bot nosuch: the bots are ${names}`, exitCode: 2 });

const two = { mine: { command: ["true"] }, other: { command: ["true"] } };

test.each(verbs)("%s is refused with the names of the config and exit code 2", async (_name, verb, args) => {
  await using rig = new VerbRig(two);
  await expect(rig.run(verb, ...args)).rejects.toMatchObject(refusal("mine, other"));
});

test("logs names the bots of a config that has mistakes, of the last known state, or of the state folder", async () => {
  await using rig = new VerbRig();
  rig.write("supervisor.yaml", "version: 7\nbots: { typo: { comand: x } }\n");
  await expect(rig.run(logs, "nosuch")).rejects.toMatchObject(refusal("typo"));
  rig.write(".supervisor/bots/folder/identity.json", "");
  rig.write("supervisor.yaml", "version: 1\n");
  await expect(rig.run(logs, "nosuch")).rejects.toMatchObject(refusal("folder"));
  rig.write(".supervisor/status.json", JSON.stringify(statusOf({}, { name: "seen" })));
  await expect(rig.run(logs, "nosuch")).rejects.toMatchObject(refusal("seen"));
});

test("a bot that is known, by the config or by its folder, is not refused", async () => {
  await using rig = new VerbRig();
  expect(await rig.run(events, "--bot", "mine")).toMatchObject({ out: "", err: "", code: 0 });
  await expect(rig.run(logs, "mine")).rejects.toThrow(/mine\.log does not exist/);
  rig.write(".supervisor/bots/gone/identity.json", "");
  rig.write(".supervisor/log/gone.log", "bye\n");
  expect(await rig.run(logs, "gone")).toMatchObject({ err: "", code: 0 });
});

test("a bot that is mistyped is refused with the one that is meant", async () => {
  await using rig = new VerbRig(two);
  const message = 'cannot find bot othr: the bots are mine, other; did you mean "other"?';
  await expect(rig.run(logs, "othr")).rejects.toMatchObject({ message, exitCode: 2 });
});
