/** The journal as server-sent events. */
import { expect, test } from "vitest";
import type { JournalEntry } from "../../../src/core/journal-entry.ts";
import { eventStream } from "../../../src/supervisor/runtime/event-stream.ts";

const at = "2026-01-02T03:04:05.000Z";

/** Entries of 2 KiB each, numbered from 1. */
function entries(count: number): readonly JournalEntry[] {
  const text = "x".repeat(2_048);
  return Array.from({ length: count }, (_, index) => ({
    v: 1,
    seq: index + 1,
    at,
    kind: "daemon",
    level: "info",
    text,
  }));
}

function openStream(recent: readonly JournalEntry[], after: number) {
  const followers = new Set<(entry: JournalEntry) => void>();
  const follow = (follower: (entry: JournalEntry) => void): (() => void) => {
    followers.add(follower);
    return () => followers.delete(follower);
  };
  const request = new Request("http://supervisor/v1/events", { headers: { "last-event-id": String(after) } });
  const response = eventStream({ recent, follow }, request);
  const tell = (entry: JournalEntry): void => {
    for (const follower of followers) follower(entry);
  };
  return { response, followers, tell };
}

async function idsOf(response: Response, count: number): Promise<readonly number[]> {
  const ids: number[] = [];
  let rest = "";
  for await (const chunk of response.body ?? []) {
    const lines = (rest + Buffer.from(chunk).toString()).split("\n");
    rest = lines.pop() ?? "";
    ids.push(...lines.filter((line) => line.startsWith("id: ")).map((line) => Number(line.slice(4))));
    if (ids.length >= count) break;
  }
  return ids;
}

test("eventStream() replays all recent entries, also where they are more than a slow follower may lag behind", async () => {
  const recent = entries(1_001);
  const [next] = recent.slice(-1);
  const { response, tell } = openStream(recent.slice(0, -1), 0);
  if (next !== undefined) tell(next);
  expect(await idsOf(response, 1_001)).toEqual(recent.map(({ seq }) => seq));
});

test("eventStream() replays only what came after the last event", async () => {
  const { response } = openStream(entries(5), 3);
  expect(await idsOf(response, 2)).toEqual([4, 5]);
});

test("eventStream() cuts off a follower that does not read", () => {
  const { followers, tell } = openStream([], 0);
  for (const entry of entries(1_000)) tell(entry);
  expect(followers.size).toBe(0);
});
