/** Ways in which a file of the supervisor may be spoiled while nobody looks: by a disk, a copy, another release, or a person. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface Damage {
  readonly name: string;
  /** Spoils the file at `path`; `roll` in [0, 1) says where, for those that have a place. */
  readonly spoil: (path: string, roll: number) => void;
}

const GARBAGE_BYTES = 5_000;

/** Bytes that are no text; the same for the same roll. */
function garbage(roll: number): Buffer {
  let seed = Math.floor(roll * 2 ** 31) + 1;
  return Buffer.from(Array.from({ length: GARBAGE_BYTES }, () => (seed = (seed * 48_271) % 2_147_483_647) % 256));
}

function bytesOf(path: string): Buffer {
  return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
}

/** Removes whatever is there, so that something else can be put in its place. */
function clear(path: string): void {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
}

/** Flips a bit of a byte that says something: the rest of a reserved file is zeros. */
function flip(path: string, roll: number): void {
  const bytes = bytesOf(path);
  const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const at = Math.floor(roll * used);
  if (used > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor((roll * 1_000) % 7));
  writeFileSync(path, bytes);
}

/** What is inside is spoiled; what is there is still a file. */
export const SPOILED_CONTENTS: readonly Damage[] = [
  { name: "truncated", spoil: (path, roll) => writeFileSync(path, cutAt(bytesOf(path), roll)) },
  { name: "flipped", spoil: flip },
  { name: "empty", spoil: (path) => writeFileSync(path, "") },
  { name: "garbage", spoil: (path, roll) => writeFileSync(path, garbage(roll)) },
  { name: "not of its kind", spoil: (path) => writeFileSync(path, '{"some":["other","file"]}\n') },
  { name: "null", spoil: (path) => writeFileSync(path, "null\n") },
];

/** Something else is in the file's place. */
export const WRONG_KINDS: readonly Damage[] = [
  {
    name: "a folder",
    spoil(path) {
      clear(path);
      mkdirSync(path);
    },
  },
  {
    name: "a FIFO",
    spoil(path) {
      clear(path);
      if (Bun.spawnSync(["mkfifo", path]).exitCode !== 0) throw new Error(`cannot make a FIFO at ${path}`);
    },
  },
  {
    name: "a link to nothing",
    spoil(path) {
      clear(path);
      symlinkSync("/nonexistent/place", path);
    },
  },
];

/** Root reads it all the same; anybody else does not. */
export const FORBIDDEN: Damage = {
  name: "forbidden",
  spoil: (path) => {
    if (existsSync(path)) chmodSync(path, 0);
  },
};

/** The same JSON with some keys replaced: of another machine, of a newer release. */
export function withKeys(name: string, change: Readonly<Record<string, unknown>>): Damage {
  return {
    name,
    spoil(path) {
      const before: unknown = JSON.parse(readFileSync(path, "utf8").replace(/\0+$/, ""));
      writeFileSync(path, `${JSON.stringify(Object.assign({}, before, change))}\n`);
    },
  };
}

/** Somewhere within, and never the whole. */
function cutAt(bytes: Buffer, roll: number): Buffer {
  return bytes.subarray(0, Math.floor(roll * Math.max(0, bytes.length - 1)));
}
