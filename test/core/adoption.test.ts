/** The decision about a process that outlived its supervisor, row by row. */
import { describe, expect, test } from "vitest";
import { judgeAdoption, type AdoptionTerms, type Sighting } from "../../src/core/adoption.ts";
import type { Identity } from "../../src/core/identity.ts";

const identity: Identity = {
  version: 1,
  account: "main",
  bootId: "boot",
  pid: 4_242,
  startTimeTicks: 77,
  invocationId: "abc",
  generation: 3,
  ready: true,
  definition: "as it is",
  cgroup: "/sys/fs/cgroup/bot",
  restarts: 1,
};
const seen: Sighting = { bootId: "boot", startTimeTicks: 77, invocationId: "abc", inCgroup: true };
const terms: AdoptionTerms = {
  orphans: "adopt",
  account: "main",
  sameUser: true,
  definition: "as it is",
  wasStopping: false,
};

describe("judgeAdoption()", () => {
  test.each<[string, Partial<Sighting>, Partial<AdoptionTerms>, string]>([
    ["adopts the process that is the one in every respect", {}, {}, "adopt"],
    ["adopts without a cgroup, by the invocation id", { inCgroup: false }, {}, "adopt"],
    ["adopts one that has overwritten its environment, by its cgroup", { invocationId: undefined }, {}, "adopt"],
    ["doubts one without invocation id and cgroup", { invocationId: undefined, inCgroup: false }, {}, "doubt"],
    ["doubts one with another invocation id, whatever its cgroup", { invocationId: "other" }, {}, "doubt"],
    ["ends what is left when the pid is somebody else's", { startTimeTicks: 78, invocationId: "other" }, {}, "end"],
    ["ends what is left when nobody has the pid", { startTimeTicks: undefined, invocationId: undefined }, {}, "end"],
    ["ends what is left after a reboot", { bootId: "another boot" }, {}, "end"],
    ["ends what is left when the boot cannot be told", { bootId: undefined }, {}, "end"],
    ["ends an orphan when the config says so", {}, { orphans: "stop" }, "end"],
    ["ends one that was being stopped", {}, { wasStopping: true }, "end"],
    ["goes on with one that the config would start otherwise now", {}, { definition: "changed" }, "adopt"],
    ["ends one whose account is another now", {}, { account: "other" }, "end"],
    ["ends one whose user is another now", {}, { definition: "changed", sameUser: false }, "end"],
    ["goes on with one that has given up its user by itself", {}, { sameUser: false }, "adopt"],
    ["doubts before it ends: a stranger is not killed", { invocationId: "other" }, { orphans: "stop" }, "doubt"],
  ])("%s", (_name, sighting, also, kind) => {
    expect(judgeAdoption(identity, { ...seen, ...sighting }, { ...terms, ...also }).kind).toBe(kind);
  });

  test.each<[string, string | undefined, boolean]>([
    ["says that the definition is the same", "as it is", false],
    ["says that the definition is another", "changed", true],
    ["takes a definition that cannot be told for another", undefined, true],
  ])("%s", (_name, definition, outdated) => {
    expect(judgeAdoption(identity, seen, { ...terms, definition })).toEqual({ kind: "adopt", outdated });
  });
});
