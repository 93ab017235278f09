/** The decision about a process that outlived its supervisor, row by row. */
import { describe, expect, test } from "vitest";
import {
  GONE,
  judgeAdoption,
  judgeUnseen,
  type AdoptionTerms,
  type Outlook,
  type Sighting,
} from "../../src/core/adoption.ts";
import { NO_PROCESS, readIdentity, withoutProcess, type Identity, type StartPlace } from "../../src/core/identity.ts";

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
  sameSockets: true,
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
    ["ends one that was given other sockets, where nobody hears it", {}, { sameSockets: false }, "end"],
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

const place: StartPlace = { bootId: "boot", pids: "pid:[2]", first: false, cgroups: 1 };

test.each<[string, Partial<StartPlace>, Partial<Outlook>, string]>([
  ["doubts a start in a PID namespace of which nothing is seen", {}, {}, "doubt"],
  ["ends what the kernel counts in its cgroup", {}, { cgroup: "inhabited" }, "end"],
  ["ends that also where its namespace should be gone", { first: true }, { cgroup: "inhabited" }, "end"],
  ["takes one for gone whose cgroup is empty", {}, { cgroup: "empty" }, "gone"],
  ["takes one for gone whose supervisor was the first process of its namespace", { first: true }, {}, "gone"],
  ["leaves one of an earlier boot to the rest", { bootId: "before" }, {}, "others"],
  ["leaves one in a namespace that is seen to pids and marks", {}, { sees: true }, "others"],
])("judgeUnseen() %s", (_name, at, seeing, expected) => {
  const outlook: Outlook = { bootId: "boot", sees: false, cgroup: "unknown", ...seeing };
  // Also of a start that has no process yet, as its supervisor may have been killed before it could name it.
  for (const process of [{}, NO_PROCESS]) {
    const judged = judgeUnseen({ ...identity, ...process, place: { ...place, ...at } }, outlook);
    expect(judged === GONE ? "gone" : (judged?.kind ?? "others")).toBe(expected);
  }
});

test("judgeUnseen() has nothing to say of an identity that names no place", () => {
  expect(judgeUnseen(identity, { bootId: "boot", sees: false, cgroup: "unknown" })).toBeUndefined();
});

test("readIdentity() takes a place, and leaves out what it does not know", () => {
  const placed = { ...identity, place };
  expect(readIdentity(JSON.stringify(placed))).toEqual({ kind: "known", identity: placed });
  const later = JSON.stringify({ ...placed, place: { ...place, later: 1 }, later: 1 });
  expect(readIdentity(later)).toEqual({ kind: "known", identity: placed });
  expect(readIdentity(JSON.stringify({ ...placed, place: {} })).kind).toBe("damaged");
  expect(withoutProcess(placed)).toEqual({ ...identity, ...NO_PROCESS });
});
