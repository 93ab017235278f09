/** The journal as server-sent events (`GET /v1/events`), with `Last-Event-ID` for followers that reconnect. */
import type { JournalEntry } from "../../core/journal-entry.ts";
import type { Journal } from "./journal.ts";

/** Bytes that a slow follower may lag behind before it is cut off: the journal must not pile up in memory. */
const MAX_LAG_BYTES = 1024 ** 2;

export function eventStream(journal: Journal, request: Request): Response {
  const after = Number(request.headers.get("last-event-id") ?? Number.NaN);
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
          controller.enqueue(`id: ${entry.seq}\ndata: ${JSON.stringify(entry)}\n\n`);
        };
        controller.enqueue(": supervisor events\n\n");
        unfollow = journal.follow(send);
        if (!Number.isNaN(after)) for (const entry of journal.recent) if (entry.seq > after) send(entry);
      },
      cancel: () => unfollow?.(),
    },
    { highWaterMark: MAX_LAG_BYTES, size: (chunk) => chunk?.length ?? 0 },
  );
  request.signal.addEventListener("abort", () => unfollow?.(), { once: true });
  return new Response(stream, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}
