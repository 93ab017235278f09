/**
 * Reads table rows straight from the pages of a SQLite file (https://sqlite.org/fileformat.html), without its header, its
 * schema or the pages above. Whatever does not fit is left out; whether a row is genuine, its hash must tell.
 */

export type PageCell = string | number | null;

/** Gives a page by its number; `undefined` where there is none. */
export type PageOf = (pageNumber: number) => Uint8Array | undefined;

/** A leaf of a table. */
const LEAF = 0x0d;
const HEADER_BYTES = 100;
const LEAF_HEADER_BYTES = 8;
/** Longest row that is put together, bytes: a damaged length must not take all memory. */
const MAX_ROW_BYTES = 16 * 1_024 ** 2;
const MAX_COLUMNS = 64;
/** Pages of one row, at 4 KiB of the longest. */
const MAX_CHAIN = 4_200;

/** The rows of the page, if it is a leaf of a table; the number of the page says only whether the file's header comes first. */
export function rowsOfPage(page: Uint8Array, pageNumber: number, pageOf: PageOf): PageCell[][] {
  const head = pageNumber === 1 ? HEADER_BYTES : 0;
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (page.byteLength < head + LEAF_HEADER_BYTES || page[head] !== LEAF) return [];
  const count = view.getUint16(head + 3);
  const rows: PageCell[][] = [];
  for (let n = 0; n < count; n += 1) {
    const at = head + LEAF_HEADER_BYTES + n * 2;
    if (at + 2 > page.byteLength) break;
    const row = rowAt(page, view.getUint16(at), pageOf);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

function rowAt(page: Uint8Array, start: number, pageOf: PageOf): PageCell[] | undefined {
  const size = varint(page, start);
  if (size === undefined || size.value > MAX_ROW_BYTES) return undefined;
  const rowId = varint(page, size.next);
  if (rowId === undefined) return undefined;
  const payload = payloadAt(page, rowId.next, size.value, pageOf);
  return payload === undefined ? undefined : recordOf(payload);
}

/** The bytes of a row: of this page, and of the chain of pages that it overflows to. */
function payloadAt(page: Uint8Array, start: number, size: number, pageOf: PageOf): Uint8Array | undefined {
  const usable = page.byteLength;
  const most = usable - 35;
  if (size <= most) return start + size <= usable ? page.subarray(start, start + size) : undefined;
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const fitting = least + ((size - least) % (usable - 4));
  const local = fitting <= most ? fitting : least;
  if (start + local + 4 > usable) return undefined;
  // Put together only once all of it was found: a damaged page may claim any length, thousands of times.
  const parts = [page.subarray(start, start + local)];
  let next = uint32(page, start + local);
  for (let filled = local; filled < size;) {
    const more = pageOf(next);
    if (next === 0 || more === undefined || more.byteLength < usable || parts.length > MAX_CHAIN) return undefined;
    const part = more.subarray(4, Math.min(usable, 4 + size - filled));
    parts.push(part);
    filled += part.byteLength;
    next = uint32(more, 0);
  }
  return joined(parts, size);
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

function recordOf(payload: Uint8Array): PageCell[] | undefined {
  const head = varint(payload, 0);
  if (head === undefined || head.value > payload.byteLength) return undefined;
  const cells: PageCell[] = [];
  let at = head.next;
  let from = head.value;
  while (at < head.value) {
    const type = varint(payload, at);
    if (type === undefined || cells.length >= MAX_COLUMNS) return undefined;
    const bytes = bytesOf(type.value);
    if (bytes === undefined || from + bytes > payload.byteLength) return undefined;
    const cell = cellOf(payload, from, type.value, bytes);
    if (cell === undefined) return undefined;
    cells.push(cell);
    at = type.next;
    from += bytes;
  }
  return cells;
}

const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

function bytesOf(type: number): number | undefined {
  return type < INTEGER_BYTES.length ? INTEGER_BYTES[type] : type < 12 ? undefined : Math.floor((type - 12) / 2);
}

/** `undefined` for a type that no table of ours holds: a float or a blob. */
function cellOf(payload: Uint8Array, from: number, type: number, bytes: number): PageCell | undefined {
  if (type === 0) return null;
  if (type === 8) return 0;
  if (type === 9) return 1;
  if (type === 7 || (type > 9 && type % 2 === 0)) return undefined;
  if (type > 9) return new TextDecoder().decode(payload.subarray(from, from + bytes));
  let value = ((payload[from] ?? 0) << 24) >> 24;
  for (let n = 1; n < bytes; n += 1) value = value * 256 + (payload[from + n] ?? 0);
  return value;
}

/** Big-endian, seven bits a byte, at most nine bytes; `undefined` beyond the end and above what a number holds. */
function varint(bytes: Uint8Array, start: number): { readonly value: number; readonly next: number } | undefined {
  let value = 0;
  for (let n = 0; n < 8; n += 1) {
    const byte = bytes[start + n];
    if (byte === undefined) return undefined;
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? { value, next: start + n + 1 } : undefined;
  }
  return undefined;
}

function uint32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}
