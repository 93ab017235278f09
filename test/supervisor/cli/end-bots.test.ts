/** When the bots of a dead daemon are ended: on systemd's word that the unit is to stop, and on nothing else. */
import { expect, test } from "vitest";
import { stopWasAsked } from "../../../src/supervisor/cli/end-bots.ts";

test.each([
  ["812 tradingbot.service stop running\n", true],
  [" 813 tradingbot.service restart running\n", true],
  ["814 tradingbot.service start waiting\n", false],
  ["No jobs running.\n", false],
  ["", false],
])("stopWasAsked() reads %j as %s", (jobs, asked) => {
  expect(stopWasAsked(jobs)).toBe(asked);
});
