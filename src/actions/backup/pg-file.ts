/** Dumps of PostgreSQL as files of whoever made them: an archive of pg_dump, or a script for psql. */

/** First bytes of a custom archive, and the first file's name of one in tar format (pg_backup_archiver.c). */
const ARCHIVES = ["PGDMP", "toc.dat"];
const HEAD_BYTES = 8;
/** A line of a script that is looked at; the rest of a longer one is data. */
const MAX_LINE_CHARS = 65_536;
const SHOWN_CHARS = 80;

interface Dump {
  readonly holds: "archive" | "script";
  readonly stream: AsyncIterable<Uint8Array>;
}

/** Tells by the first bytes what the stream holds. Throws what the stream throws. */
export async function startsOf(raw: AsyncIterable<Uint8Array>): Promise<Dump> {
  const pieces = raw[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  let over = false;
  while (head.length < HEAD_BYTES && !over) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: one piece after the other.
    const next = await pieces.next();
    if (next.done === true) over = true;
    else head = Buffer.concat([head, next.value]);
  }
  const text = head.toString("latin1", 0, HEAD_BYTES);
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield head;
    for (
      let next = over ? undefined : await pieces.next();
      next !== undefined && next.done !== true;
      next = await pieces.next()
    )
      yield next.value;
  }
  return { holds: ARCHIVES.some((magic) => text.startsWith(magic)) ? "archive" : "script", stream: whole() };
}

/**
 * Hands a script on, and throws for one that leaves its database: a dump with `\connect` (pg_dump -C, pg_dumpall) would be written
 * over the living one. Rows of data are not looked at.
 */
export async function* plainScript(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder("latin1");
  let rest = "";
  let inRows = false;
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = (lines.pop() ?? "").slice(0, MAX_LINE_CHARS);
    for (const line of lines) {
      if (!inRows) refuseElsewhere(line);
      inRows = inRows ? line !== "\\." : /^COPY .* FROM stdin;$/.test(line);
    }
    // A command is carried out at the end of its line, which is looked at before it is handed on.
    yield chunk;
  }
  if (!inRows) refuseElsewhere(rest);
}

function refuseElsewhere(line: string): void {
  if (!/^(\\|(CREATE|DROP|ALTER) DATABASE\b)/i.test(line) || /^\\(un)?restrict \w+$/.test(line)) return;
  throw new Error(
    `the script says ${JSON.stringify(line.slice(0, SHOWN_CHARS))}, which leads out of the database that is restored; write it by pg_dump without -C, or run it by hand`,
  );
}
