/** Where two configs differ, and what is said of it. */
import { describe, expect, test } from "vitest";
import { differences, reloadSummary, valueUnder } from "../../src/core/reload.ts";

describe("differences()", () => {
  test.each<[string, unknown, unknown, readonly string[]]>([
    ["finds nothing in equal values", { a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }, []],
    ["takes the order of keys for nothing", { a: { x: 1, y: 2 } }, { a: { y: 2, x: 1 } }, []],
    ["takes an absent key for an undefined one", { a: undefined }, {}, []],
    ["goes as deep as both are maps", { a: { b: 1, c: 1 } }, { a: { b: 2, c: 1 } }, ["a.b"]],
    ["names a section that is new as a whole", {}, { a: { b: 1 } }, ["a"]],
    ["compares a plain list as one value", { a: ["x"] }, { a: ["x", "y"] }, ["a"]],
    ["tells the order of a plain list", { a: [1, 2] }, { a: [2, 1] }, ["a"]],
    [
      "goes by name in a list of named things",
      [{ name: "x", t: 1 }, { name: "y" }],
      [{ name: "y" }, { name: "x", t: 2 }],
      ["x.t"],
    ],
    ["finds the first named thing of a list", { probes: [] }, { probes: [{ name: "x" }] }, ["probes.x"]],
    ["finds the last named thing of a list gone", { probes: [{ name: "x" }] }, { probes: [] }, ["probes.x"]],
    ["tells a list from a value", { a: [] }, { a: "x" }, ["a"]],
    ["tells null from nothing", { a: null }, {}, ["a"]],
  ])("%s", (_name, before, after, paths) => {
    expect(differences(before, after).map(({ path }) => path.join("."))).toEqual(paths);
  });

  test("carries both values", () => {
    expect(differences({ a: 1 }, { a: 2 })).toEqual([{ path: ["a"], before: 1, after: 2 }]);
  });
});

describe("valueUnder()", () => {
  test("finds a value below a named thing of a list", () => {
    expect(valueUnder({ probes: [{ name: "x", timeout: "5s" }] }, ["probes", "x", "timeout"])).toBe("5s");
  });

  test("is undefined where nothing is", () => {
    expect(valueUnder({ a: 1 }, ["a", "b", "c"])).toBeUndefined();
  });
});

describe("reloadSummary()", () => {
  test("says nothing of nothing", () => {
    expect(reloadSummary({ changes: [], bots: [] })).toBe("nothing");
  });

  test("names each bot with what it means for it", () => {
    const more = { changes: [], state: null, note: null, error: null };
    const bots = [
      { name: "a", meaning: "restart" as const, ...more },
      { name: "b", meaning: "added" as const, ...more },
    ];
    expect(reloadSummary({ changes: [], bots })).toBe("a restart, b added");
  });

  test("names the first keys of a bot and counts the others", () => {
    const changes = [1, 2, 3, 4, 5, 6, 7].map((n) => ({
      key: `k${n}`,
      before: "1",
      after: "2",
      meaning: "in place" as const,
    }));
    const bot = { name: "a", meaning: "in place" as const, changes, state: null, note: null, error: null };
    expect(reloadSummary({ changes: [], bots: [bot] })).toBe("a in place (k1, k2, k3, k4, k5 and 2 more)");
  });
});
