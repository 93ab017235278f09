/** Keeps a worker small that hands on large buffers: the collector by itself waits until there are hundreds of megabytes of them. */

/** Buffers that may pile up between two collections, bytes. One takes some milliseconds while the heap is small. */
const PILE_BYTES = 16 * 1_024 ** 2;

let pile = 0;

/**
 * Gives back at once the memory of a piece that has a buffer of its own: whoever still has the piece finds it empty. What is a part
 * of a larger buffer is left alone.
 */
export function release({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** Call for each buffer of that size that is done with. */
export function collectAfter(bytes: number): void {
  pile += bytes;
  if (pile < PILE_BYTES) return;
  pile = 0;
  Bun.gc(true);
}
