import { expect, test } from "vitest";
import { expose } from "../../src/report/exposition.ts";

test("expose() writes HELP and TYPE once and then the samples, escaped as the format says", () => {
  const text = expose([
    {
      name: "a_total",
      help: 'counts "a" in C:\\ and\nelsewhere',
      type: "counter",
      samples: [
        { labels: {}, value: 3 },
        { labels: { path: 'C:\\x "y"\nz', empty: "" }, value: 1.5 },
      ],
    },
    { name: "b", help: "none now", type: "gauge", samples: [] },
  ]);
  expect(text).toBe(
    [
      '# HELP a_total counts "a" in C:\\\\ and\\nelsewhere',
      "# TYPE a_total counter",
      "a_total 3",
      'a_total{path="C:\\\\x \\"y\\"\\nz",empty=""} 1.5',
      "# HELP b none now",
      "# TYPE b gauge",
      "",
    ].join("\n"),
  );
});

test.each([
  [Number.NaN, "NaN"],
  [Number.POSITIVE_INFINITY, "+Inf"],
  [Number.NEGATIVE_INFINITY, "-Inf"],
  [1e21, "1e+21"],
  [0.000_000_1, "1e-7"],
])("expose() writes %s as %s", (value, text) => {
  expect(expose([{ name: "a", help: "x", type: "gauge", samples: [{ labels: {}, value }] }])).toContain(
    `\na ${text}\n`,
  );
});
