/** Reads the daemon's server-sent events. */
import type { JournalEntry } from "../../core/journal-entry.ts";

/** Hands on each entry until the daemon ends, which closes the connection one way or the other. */
export async function followEvents(response: Response, onEntry: (entry: JournalEntry) => void): Promise<void> {
  try {
    await readEvents(response, onEntry);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ECONNRESET")) throw error;
  }
}

async function readEvents(response: Response, onEntry: (entry: JournalEntry) => void): Promise<void> {
  if (response.body === null) return;
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      // Safe: our own daemon made the line from a journal entry.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      if (data !== undefined) onEntry(JSON.parse(data.slice("data: ".length)) as JournalEntry);
    }
  }
}
