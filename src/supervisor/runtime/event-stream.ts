/** The journal as server-sent events (`GET /v1/events`), with `Last-Event-ID` for followers that reconnect. */
import type { JournalEntry } from "../../core/journal-entry.ts";
import type { Journal } from "./journal.ts";

/** Bytes that a slow follower may lag behind before it is cut off: the journal must not pile up in memory. */
const MAX_LAG_BYTES = 1024 ** 2;

export function eventStream(journal: Pick<Journal, "recent" | "follow">, request: Request): Response {
  const after = Number(request.headers.get("last-event-id") ?? Number.NaN);
  const missed = Number.isNaN(after) ? [] : journal.recent.filter(({ seq }) => seq > after).map(eventText);
  const missedBytes = missed.reduce((sum, text) => sum + text.length, 0);
  let unfollow: (() => void) | undefined;
  const stream = new ReadableStream<string>(
    {
      start(controller) {
        const send = (entry: JournalEntry): void => {
          if ((controller.desiredSize ?? 0) < 0) {
            unfollow?.();
            controller.close();
            return;
          }
          controller.enqueue(eventText(entry));
        };
        controller.enqueue(": supervisor events\n\n");
        // Taken out, so that a follower that stays for days does not hold them.
        for (const text of missed.splice(0)) controller.enqueue(text);
        unfollow = journal.follow(send);
      },
      cancel: () => unfollow?.(),
    },
    // What a follower has missed is no lag of its own.
    { highWaterMark: MAX_LAG_BYTES + missedBytes, size: (chunk) => chunk?.length ?? 0 },
  );
  request.signal.addEventListener("abort", () => unfollow?.(), { once: true });
  return new Response(stream, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}

function eventText(entry: JournalEntry): string {
  return `id: ${entry.seq}\ndata: ${JSON.stringify(entry)}\n\n`;
}
