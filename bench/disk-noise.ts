/** Keeps a disk busy until it is killed: writes 4 MiB and flushes, again and again, over a file of 64 MiB: `disk-noise.ts FILE`. */
import { fsyncSync, openSync, writeSync } from "node:fs";

const BLOCK_BYTES = 4 * 1_024 ** 2;
const FILE_BYTES = 64 * 1_024 ** 2;

const fd = openSync(process.argv[2] ?? "", "w");
const block = new Uint8Array(BLOCK_BYTES);
writeSync(1, "busy\n");
for (let at = 0; ; at = (at + BLOCK_BYTES) % FILE_BYTES) {
  writeSync(fd, block, 0, BLOCK_BYTES, at);
  fsyncSync(fd);
}
