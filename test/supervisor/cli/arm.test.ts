import { expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/arm.ts";
import { VerbRig, type Outcome } from "./verb-rig.ts";

async function armed(answer: object, ...args: readonly string[]): Promise<Outcome> {
  await using rig = new VerbRig();
  rig.serve(() => Response.json({ bot: "mine", ...answer }));
  return await rig.run(command, "mine", "--reason", "x", ...args);
}

test.each([
  [{ state: "running", started: true }, "running"],
  [{ state: "stopped", started: false }, "stopped; to start it: supervisor start mine"],
  [{ state: "running" }, "running"],
])("arm exits 0 when the daemon says %j", async (answer, told) => {
  expect(await armed(answer)).toEqual({ out: `mine re-armed; it is ${told}\n`, err: "", code: 0 });
});

test.each([
  [{ state: "backoff", started: false, reason: "exited with\n1" }, "it is backoff: exited with 1"],
  [{ state: "starting", started: false }, "it is starting"],
  [{ state: "stopped", started: false, reason: "exited with 0" }, "it is stopped: exited with 0"],
])("arm says first that the lockout has ended, and exits 1, when the daemon says %j", async (answer, how) => {
  const err = `mine re-armed, but it is not running: ${how}\nhint: see: supervisor events --bot mine\n`;
  expect(await armed(answer)).toEqual({ out: "", err, code: 1 });
});

test.each([
  ["running", ""],
  ["halted", ""],
  ["stopped", "; to start it: supervisor start mine"],
])(
  "arm of a bot that was not locked says that its restored data agrees with its account again (%s)",
  async (state, more) => {
    const out = `mine agrees with its account again after its restore; it is ${state}${more}\n`;
    const answer = { state, started: state === "running", reconciled: true };
    expect(await armed(answer)).toEqual({ out, err: "", code: 0 });
  },
);

test("arm --json exits by the same answer", async () => {
  const answer = { bot: "mine", state: "backoff", started: false, reason: "exited with 1" };
  expect(await armed(answer, "--json")).toEqual({ out: `${JSON.stringify(answer)}\n`, err: "", code: 1 });
});

test.each(["", " "])("arm refuses the reason %j before it asks the daemon", async (reason) => {
  await using rig = new VerbRig();
  await expect(rig.run(command, "mine", "--reason", reason)).rejects.toMatchObject({
    message: "cannot arm: --reason is empty",
    exitCode: 2,
  });
});
