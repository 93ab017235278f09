/** Replies that no venue means to give: a gateway's errors, and replies that never arrive whole. */
/** Longest time a stalled body is held open, ms; far beyond any client's deadline. */
const MAX_STALL_MS = 100_000;

/**
 * A reply whose body fails before its first byte: Bun closes the socket, the client sees the connection die.
 * Without a reason, because Bun prints any other one to stderr. Note that fetch itself sends a GET once more when a
 * reused connection dies this way, so that one dropped GET may go unnoticed; a POST is never sent twice.
 */
export function droppedResponse(): Response {
  return new Response(new ReadableStream({ start: (controller) => controller.error() }));
}

/** A reply of status 200 whose body starts and never goes on. */
export function stalledResponse(): Response {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new Response(
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("{"));
        timer = setTimeout(() => controller.error(new Error("stalled too long")), MAX_STALL_MS);
        timer.unref();
      },
      cancel() {
        clearTimeout(timer);
      },
    }),
    { headers: { "Content-Type": "application/json" } },
  );
}

/** What a gateway in front of the venue sends when the venue does not answer: no JSON. */
export function brokenGateway(status: number, retryAfter: number | undefined): Response {
  const response = html(status, `<html><head><title>${status}</title></head><body>${status}</body></html>`);
  if (retryAfter !== undefined) response.headers.set("Retry-After", String(retryAfter));
  return response;
}

export function html(status: number, text: string): Response {
  return new Response(text, { status, headers: { "Content-Type": "text/html" } });
}
