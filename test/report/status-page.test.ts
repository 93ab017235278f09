import { describe, expect, test } from "vitest";
import { statusPage } from "../../src/report/status-page.ts";
import { botStatusOf, downBotOf, statusOf } from "../harness/status.ts";

describe("statusPage()", () => {
  test("shows each bot in a row, and below the table what deserves a second look", () => {
    const page = statusPage(
      statusOf([botStatusOf(), downBotOf({ name: "other", state: "halted", reason: "exit code 78" })]),
    );
    expect(page).toContain('<tr><td>momentum</td><td class="green">running</td><td class="green">healthy</td>');
    expect(page).toContain('<tr><td>other</td><td class="red">halted</td>');
    expect(page).toContain("other: exit code 78");
    expect(page).toContain("probes of momentum:\n  web (http, liveness): healthy, last success  12.5 ms");
    expect(page.match(/<tr>/g)).toHaveLength(3);
  });

  test("says what of the supervisor itself deserves a second look, as the table of the command does", () => {
    const trouble = { journal: "cannot write to the journal: <full>", stateFolder: "the state folder was moved" };
    const maintenance = { since: "2026-01-01T00:00:00.000Z", until: "2026-01-01T01:00:00.000Z", reason: null };
    const page = statusPage(statusOf([], { ...trouble, journalDropped: 2, maintenance }));
    expect(page).toContain(
      "cannot write to the journal: &lt;full&gt;\nthe state folder was moved\n2 lines of the journal",
    );
    expect(page).toContain("maintenance until 2026-01-01T01:00:00.000Z");
  });

  test("escapes the words of bots, venues and people, and keeps their control characters out", () => {
    const words = `</pre><script>alert("1")</script>&'\u001B[2J`;
    const page = statusPage(
      statusOf([
        downBotOf({
          name: "a",
          reason: words,
          heartbeat: { at: null, ageSeconds: null, status: words },
          lastExit: { at: "2026-01-01T00:00:00.000Z", code: 1, signal: null, cause: "exited", detail: words },
        }),
      ]),
    );
    expect(page).not.toContain("<script");
    expect(page).not.toContain("\u001B");
    expect(
      page.match(/&lt;\/pre&gt;&lt;script&gt;alert\(&quot;1&quot;\)&lt;\/script&gt;&amp;&#39; \[2J/g),
    ).toHaveLength(3);
  });

  test("needs no script and nothing from elsewhere, and is asked for anew by itself", () => {
    const page = statusPage(statusOf());
    expect(page).toContain('<meta http-equiv="refresh" content="5">');
    expect(page).not.toMatch(/<script|src=|href=|url\(|https?:/);
  });
});
