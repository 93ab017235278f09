/** The bot's level: the supervisor's file, the gate, what is kept and recorded. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { SavedLevel } from "../../src/core/degradation.ts";
import {
  createBlackbox,
  createLevels,
  type LevelChange,
  type Levels,
  type LevelsOptions,
} from "../../src/bot/index.ts";

let folder: string;
let file: string;
const open: Levels[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "levels-"));
  file = join(folder, "level");
});

afterEach(() => {
  for (const levels of open.splice(0)) levels.close();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

function demand(word: string): void {
  writeFileSync(join(folder, "new"), `${word}\n`);
  renameSync(join(folder, "new"), file);
}

function start(options: LevelsOptions = {}): Levels {
  const made = createLevels({ SUPERVISOR_LEVEL_FILE: file }, options);
  open.push(made);
  return made;
}

/** The monotonic clock that the levels read, to be set at will. */
function clock(): { ms: number } {
  const now = { ms: 1_000 };
  vi.spyOn(performance, "now").mockImplementation(() => now.ms);
  return now;
}

test("createLevels() is normal without a supervisor, and lets everything through", () => {
  const made = createLevels({});
  open.push(made);
  expect([made.level, made.gate("open")]).toEqual(["normal", { allowed: true, sizeFactor: 1 }]);
});

test("look() follows the supervisor's file up at once", () => {
  const made = start();
  expect(made.level).toBe("normal");
  demand("minimal");
  made.look();
  expect(made.gate("open")).toMatchObject({ allowed: false, level: "minimal" });
  expect(made.gate("reduce")).toEqual({ allowed: true, sizeFactor: 1 });
});

test("look() keeps what was demanded last while the file cannot be read", () => {
  const now = clock();
  demand("minimal");
  const made = start();
  demand("rubbish");
  for (now.ms = 1_000; now.ms < 20_000; now.ms += 1_000) made.look();
  expect(made.level).toBe("minimal");
});

test("look() takes a file that nobody has touched for three beats for a silent supervisor", () => {
  const now = clock();
  demand("normal");
  const made = start();
  now.ms += 30_000;
  made.look();
  expect(made.level).toBe("normal");
  now.ms += 1;
  made.look();
  expect(made.level).toBe("degraded");
});

test("look() hears a supervisor that touches the file, whatever the wall clock says", () => {
  const now = clock();
  demand("normal");
  const made = start();
  for (let beat = 1; beat < 10; beat += 1) {
    now.ms += 20_000;
    utimesSync(file, beat * 1_000, beat * 1_000);
    made.look();
  }
  expect(made.level).toBe("normal");
});

test("look() takes a file that is gone for no demand", () => {
  const now = clock();
  demand("degraded");
  const made = start();
  rmSync(file);
  made.look();
  now.ms += 67_000;
  made.look();
  expect(made.level).toBe("normal");
});

test("a level outlives its process in its store, and an emergency with its latch", () => {
  let kept: SavedLevel | undefined;
  const store = { load: () => kept, save: (saved: SavedLevel) => void (kept = saved) };
  start({ store }).propose({ source: "loss", level: "emergency", reason: "lost 5 %", ttlMs: 1 });
  const again = start({ store });
  expect([again.level, again.latched, again.reason]).toEqual(["emergency", true, "lost 5 %"]);
  again.set("normal", "looked at it");
  expect(start({ store }).level).toBe("normal");
});

test.each([
  ["supervisor", "normal", "normal"],
  ["supervisor", undefined, "emergency"],
  ["supervisor", "rubbish", "emergency"],
  ["loss", "normal", "emergency"],
] as const)(
  "an emergency that %s demanded before a start is, with a file that says %s, %s after it",
  (source, word, level) => {
    const saved = {
      level: "emergency",
      reason: "x",
      source,
      since: 0,
      latched: source === "loss",
      holdUntil: 0,
    } as const;
    if (word !== undefined) demand(word);
    expect(start({ store: { load: () => saved, save: () => undefined } }).level).toBe(level);
  },
);

test("an emergency that both the supervisor and the bot demanded stays the bot's after a start", () => {
  let kept: SavedLevel | undefined;
  const store = { load: () => kept, save: (saved: SavedLevel) => void (kept = saved) };
  demand("emergency");
  start({ store }).propose({ source: "loss", level: "emergency", reason: "lost 5 %", ttlMs: 1 });
  demand("normal");
  const again = start({ store });
  expect([again.level, again.latched, again.gate("open").allowed]).toEqual(["emergency", true, false]);
});

test("an emergency of the bot's own is told to the supervisor, and one that the supervisor demands is not", async () => {
  const heard = Promise.withResolvers<unknown>();
  const socket = join(folder, "s");
  const server = Bun.serve({
    unix: socket,
    fetch: async (request) => {
      heard.resolve([new URL(request.url).pathname, await request.json()]);
      return Response.json({});
    },
  });
  demand("emergency");
  const made = createLevels({ SUPERVISOR_LEVEL_FILE: file, SUPERVISOR_SOCKET: socket });
  open.push(made);
  rmSync(file);
  made.look();
  made.set("normal", "looked at it");
  made.propose({ source: "loss", level: "emergency", reason: "lost 5 %", ttlMs: 1 });
  const event = { level: "alert", text: "its own level is emergency: lost 5 %" };
  expect(await heard.promise).toEqual(["/v1/events", event]);
  await server.stop(true);
});

test("a change of level is told, and recorded in the black box", () => {
  const told: LevelChange[] = [];
  const blackbox = createBlackbox({ SUPERVISOR_BLACKBOX_DIR: join(folder, "blackbox") });
  const made = start({
    blackbox,
    onChange: (change) => {
      told.push(change);
      throw new Error("the bot's own mistake");
    },
  });
  made.propose({ source: "breaker:order", level: "minimal", reason: "it is open", ttlMs: 60_000 });
  blackbox.close();
  const change = { from: "normal", to: "minimal", source: "breaker:order", reason: "it is open" };
  expect(told).toEqual([change]);
  const names = readdirSync(join(folder, "blackbox")).filter((name) => name.endsWith(".ndjson"));
  const text = names.map((name) => readFileSync(join(folder, "blackbox", name), "utf8")).join("");
  expect(text).toContain(JSON.stringify(change));
});

test("look() never throws, and keeps the level, where something else is in the file's place", () => {
  demand("minimal");
  const made = start();
  rmSync(file);
  mkdirSync(file);
  made.look();
  expect(made.level).toBe("minimal");
});
