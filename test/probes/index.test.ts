import { real } from "../../src/core/later.ts";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createProbe, onFailureOf, probeKinds, probeName, probeSchema } from "../../src/probes/index.ts";
import { probeContext } from "../harness/probe-context.ts";

/** The least that each kind needs. */
const least: Record<string, object> = {
  process: {},
  heartbeat: {},
  progress: {},
  http: { url: "http://127.0.0.1:8080/health" },
  tcp: { port: 8080 },
  exec: { command: ["./check.sh"] },
  file: { path: "beat", maxAge: "2m" },
  resources: { maxRss: "1500MiB" },
};
const parse = (kind: string, fields: object = {}) => probeSchema.parse({ kind, ...least[kind], ...fields });

describe("probeSchema", () => {
  test("knows every kind, and this test too", () => {
    expect([...probeKinds].sort()).toEqual(Object.keys(least).sort());
  });

  test.each(Object.keys(least))("%s has the shared defaults", (kind) => {
    expect(parse(kind)).toMatchObject({ role: "liveness", initialDelay: 0, period: 10_000, successThreshold: 1 });
  });

  test.each([
    ["process", 5_000, 1],
    ["heartbeat", 60_000, 1],
    ["progress", 300_000, 1],
    ["http", 5_000, 3],
    ["tcp", 5_000, 3],
    ["exec", 5_000, 3],
    ["file", 5_000, 3],
    ["resources", 5_000, 1],
  ] as const)("%s has timeout %i ms and failureThreshold %i", (kind, timeout, failureThreshold) => {
    expect(parse(kind)).toMatchObject({ timeout, failureThreshold });
  });

  test.each([
    ["an unknown kind", { kind: "icmp" }, /kind|Invalid/],
    ["a misspelt field", { kind: "tcp", port: 1, periodd: "1s" }, /Unrecognized key: "periodd"/],
    ["a URL that is not http", { kind: "http", url: "ftp://x/" }, /URL/],
    [
      "a body expected of HEAD",
      { ...least["http"], kind: "http", method: "HEAD", expectBody: "x" },
      /a HEAD answer has no body/,
    ],
    ["a port out of range", { kind: "tcp", port: 70_000 }, /65535/],
    ["an empty command", { kind: "exec", command: [] }, />=1/],
    ["resources without a limit", { kind: "resources" }, /at least one of maxRss, maxCpu, maxOpenFiles/],
    ["a bad duration", { kind: "file", path: "x", maxAge: "2 minutes" }, /is not a duration/],
  ])("refuses %s", (_name, config, message) => {
    const { error } = probeSchema.safeParse(config);
    expect(error?.issues.map((issue) => issue.message).join("\n")).toMatch(message);
  });

  test("describes every field of every kind in its JSON schema", () => {
    const json = z.toJSONSchema(real(probeSchema), { io: "input" });
    const kinds = json.oneOf ?? json.anyOf ?? [];
    expect(kinds).toHaveLength(probeKinds.length);
    const silent = kinds.flatMap((kind) =>
      Object.entries(kind.properties ?? {})
        .filter(([, field]) => typeof field !== "object" || field.description === undefined)
        .map(([name]) => name),
    );
    expect(silent).toEqual([]);
  });
});

describe("createProbe()", () => {
  test.each(Object.keys(least))("makes a %s probe", (kind) => {
    expect(createProbe(parse(kind), probeContext())).toHaveProperty("run");
  });
});

describe("probeName() and onFailureOf()", () => {
  test("a probe is named by its kind unless it has a name", () => {
    expect([probeName(parse("tcp")), probeName(parse("tcp", { name: "feed" }))]).toEqual(["tcp", "feed"]);
  });

  test.each([
    ["startup", undefined, "restart"],
    ["liveness", undefined, "restart"],
    ["readiness", undefined, "alert"],
    ["readiness", "degrade", "degrade"],
    ["liveness", "emergency", "emergency"],
  ] as const)("a %s probe with onFailure %s does %s", (role, onFailure, does) => {
    expect(onFailureOf(parse("tcp", onFailure === undefined ? { role } : { role, onFailure }))).toBe(does);
  });
});
