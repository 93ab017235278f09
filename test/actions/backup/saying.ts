/** Waits for a line of a server's log: the server itself says when it is ready. */

const DEADLINE_MS = 60_000;
/** Of what is shown when it never says so. */
const MAX_CHARS = 8_192;

/** Resolves when it has said the words, and rejects when it has ended or is too late; reads on all the same, so that it can write. */
export async function saying(log: ReadableStream<Uint8Array>, words: RegExp): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let text = "";
  const give = (why: string): void => reject(new Error(`the server ${why}: ${text}`));
  const deadline = setTimeout(() => give("is not ready in time"), DEADLINE_MS);
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of log) {
      text = (text + decoder.decode(chunk, { stream: true })).slice(-MAX_CHARS);
      if (words.test(text)) resolve();
    }
    give("has ended");
  })();
  try {
    await promise;
  } finally {
    clearTimeout(deadline);
  }
}
