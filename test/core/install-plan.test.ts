/** What an install writes, and what it does with what is there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dropInText, readDropIn, type InstallSettings } from "../../src/core/install-drop-in.ts";
import {
  changesAnything,
  dirProblem,
  folderOf,
  planInstall,
  userProblem,
  wantedOf,
  type Order,
  type Seen,
  type Shipped,
} from "../../src/core/install-plan.ts";

const shippedFile = (name: string): string => readFileSync(join(import.meta.dirname, "../../config", name), "utf8");
const shipped: Shipped = {
  service: shippedFile("systemd/tradingbot.service"),
  backupService: shippedFile("systemd/tradingbot-backup.service"),
  backupTimer: shippedFile("systemd/tradingbot-backup.timer"),
  unprivileged: shippedFile("systemd/unprivileged.conf"),
  logrotate: shippedFile("logrotate/tradingbot"),
  starter: "version: 1\n",
};
const digest = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const order = (settings: Partial<InstallSettings> = {}, more: Partial<Order> = {}): Order => ({
  settings: { user: undefined, dir: undefined, ...settings },
  group: undefined,
  config: undefined,
  keptDropIns: new Set(),
  ...more,
});
const wantedFor = (given: Order) => wantedOf(given, shipped, digest);
const pathsFor = (given: Order): string[] =>
  wantedFor(given).flatMap(({ kind, path }) => (kind === "file" ? [path] : []));

const configFor = (given: Order) => wantedFor(given).find(({ path }) => path.endsWith("supervisor.yaml"));

const settings = fc.record({
  user: fc.option(fc.stringMatching(/^[a-z_][a-z0-9_-]{0,31}$/), { nil: undefined }),
  dir: fc.option(fc.stringMatching(/^(\/[a-z@.+_-]{1,9}){1,4}$/), { nil: undefined }),
});
const seen = fc.oneof(
  fc.constant<Seen>({ kind: "absent" }),
  fc.boolean().map((fits): Seen => ({ kind: "there", fits })),
);

describe("wantedOf()", () => {
  test("names program, config, units and log rotation, and no drop-in without an option", () => {
    expect(pathsFor(order())).toEqual([
      "/usr/local/bin/supervisor",
      "/etc/tradingbot/supervisor.yaml",
      "/etc/systemd/system/tradingbot.service",
      "/etc/systemd/system/tradingbot-backup.service",
      "/etc/systemd/system/tradingbot-backup.timer",
      "/etc/logrotate.d/tradingbot",
    ]);
  });

  test("with another folder has program and config there, and a drop-in for both services before their units", () => {
    expect(pathsFor(order({ dir: "/srv/bots" })).slice(0, 5)).toEqual([
      "/srv/bots/supervisor",
      "/srv/bots/supervisor.yaml",
      "/etc/systemd/system/tradingbot.service.d/10-install.conf",
      "/etc/systemd/system/tradingbot-backup.service.d/10-install.conf",
      "/etc/systemd/system/tradingbot.service",
    ]);
  });

  test("leaves a drop-in out that a person has changed", () => {
    const kept = order({ user: "bots" }, { keptDropIns: new Set(["tradingbot.service"]) });
    expect(pathsFor(kept).filter((path) => path.endsWith(".conf"))).toEqual([
      "/etc/systemd/system/tradingbot-backup.service.d/10-install.conf",
    ]);
  });

  test("gives a config that others may not read to the daemon's group alone", () => {
    const config = { text: "version: 1\n", mode: 0o100600 };
    expect(configFor(order({ user: "bots" }, { config }))).toMatchObject({
      mode: 0o640,
      owner: { user: "root", group: "bots" },
    });
    expect(configFor(order({}, { config: { ...config, mode: 0o100644 } }))).toMatchObject({ mode: 0o644 });
  });

  test("names each path once, and each folder before what lies in it", () => {
    fc.assert(
      fc.property(settings, (given) => {
        const paths = wantedFor(order(given)).map(({ path }) => path);
        expect(new Set(paths).size).toBe(paths.length);
        const early = paths.filter((path, at) => !["/", ...paths.slice(0, at)].includes(folderOf(path)));
        expect(early).toEqual([]);
      }),
    );
  });
});

describe("planInstall()", () => {
  test("never replaces a config, whatever lies there", () => {
    fc.assert(
      fc.property(settings, fc.array(seen, { minLength: 1 }), (given, looks) => {
        let at = 0;
        const next = (): Seen => looks[(at += 1) % looks.length] ?? { kind: "absent" };
        const steps = planInstall(wantedFor(order(given)), next, undefined);
        const config = steps.filter(({ kind, path }) => kind === "file" && path.endsWith("/supervisor.yaml"));
        expect(config.map(({ action }) => action)).not.toContain("replace");
      }),
    );
  });

  test("ends at any step, and a plan of what is left then does only the rest; after the last, nothing", () => {
    fc.assert(
      fc.property(settings, fc.nat(), (given, cut) => {
        const wanted = wantedFor(order(given));
        const there = new Set<string>();
        const look = ({ path }: { readonly path: string }): Seen =>
          there.has(path) ? { kind: "there", fits: true } : { kind: "absent" };
        const first = planInstall(wanted, look, undefined);
        expect(first.map(({ action }) => action)).toEqual(wanted.map(() => "create"));
        const done = cut % (first.length + 1);
        for (const { path } of first.slice(0, done)) there.add(path);
        const second = planInstall(wanted, look, undefined).filter(({ action }) => action === "create");
        expect(second).toEqual(first.slice(done));
        for (const { path } of second) there.add(path);
        expect(changesAnything(planInstall(wanted, look, undefined))).toBe(false);
      }),
    );
  });

  test("keeps a user and a folder that are there, and replaces a unit that differs", () => {
    const steps = planInstall(wantedFor(order({ user: "bots" })), () => ({ kind: "there", fits: false }), {
      name: "bots",
      exists: true,
    });
    expect(steps.map(({ kind, action }) => `${kind} ${action}`)).toEqual([
      "user keep",
      "file replace",
      "file keep",
      ...Array<string>(6).fill("file replace"),
    ]);
  });
});

const text = (given: Partial<InstallSettings>, unit = shipped.service, group?: string): string | undefined =>
  dropInText(
    { settings: { user: undefined, dir: undefined, ...given }, group, unit, unprivileged: shipped.unprivileged },
    digest,
  );
const bodyOf = (whole: string | undefined): string[] => (whole ?? "").split("\n").slice(2);

describe("dropInText()", () => {
  test("of a user is the shipped drop-in with that user", () => {
    expect(bodyOf(text({ user: "bots" }))).toEqual([
      "[Service]",
      "User=bots",
      "Group=bots",
      "CapabilityBoundingSet=",
      "SystemCallFilter=~@chown @setuid capset",
      "",
    ]);
    expect(bodyOf(text({ user: "bots" }, shipped.service, "100"))).toContain("Group=100");
  });

  test("of a user leaves the backup service the calls that a backup needs", () => {
    expect(bodyOf(text({ user: "bots" }, shipped.backupService))).toEqual([
      "[Service]",
      "User=bots",
      "Group=bots",
      "CapabilityBoundingSet=",
      "",
    ]);
  });

  test("of a folder replaces every command of the unit", () => {
    expect(bodyOf(text({ dir: "/opt/bots" }))).toEqual([
      "[Service]",
      "ExecStart=",
      "ExecStart=/opt/bots/supervisor run --config /opt/bots/supervisor.yaml",
      "ExecReload=",
      "ExecReload=/opt/bots/supervisor reload --config /opt/bots/supervisor.yaml",
      "ExecStopPost=",
      "ExecStopPost=-/opt/bots/supervisor __end-bots --unit %n --config /opt/bots/supervisor.yaml",
      "",
    ]);
    for (const unit of [shipped.service, shipped.backupService])
      expect(bodyOf(text({ dir: "/opt/bots" }, unit)).join("\n")).not.toMatch(/\/usr\/local|\/etc\/tradingbot/);
  });

  test("is read back with its options, and a change of any line is noticed", () => {
    fc.assert(
      fc.property(settings, fc.nat(), (given, at) => {
        const whole = text(given);
        fc.pre(whole !== undefined);
        expect(readDropIn(whole, digest)).toEqual({ kind: "ours", settings: given });
        const lines = whole.split("\n");
        lines.splice(2 + (at % (lines.length - 2)), 0, "Nice=5");
        expect(readDropIn(lines.join("\n"), digest)).toEqual({ kind: "changed", settings: given });
      }),
    );
    expect(readDropIn("[Service]\nUser=me\n", digest)).toEqual({ kind: "foreign" });
  });
});

test.each([
  ["tradingbot", true],
  ["_bot-1", true],
  ["root", false],
  ["1bot", false],
  ["Bot", false],
  ["a b", false],
  ["a\nb", false],
  ["", false],
  ["-x", false],
])("userProblem(%j): it is a user is %s", (name, fine) => {
  expect(userProblem(name) === undefined).toBe(fine);
});

test.each([
  ["/opt/tradingbot", true],
  ["/home/my.user/trading-bot", true],
  ["/", false],
  ["/tmp/x", false],
  ["/run", false],
  ["/runner", true],
  ["/opt/a b", false],
  ["/opt/%n", false],
  ["/opt/$x", false],
  ["/opt/a\nb", false],
  ["/opt//b", false],
])("dirProblem(%j): it can be a folder of an install is %s", (dir, fine) => {
  expect(dirProblem(dir) === undefined).toBe(fine);
});
