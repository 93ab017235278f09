/** Where a section of a program file is loaded, read from the file itself (elf(5), 64 bit, little-endian). */
import { closeSync, openSync, readSync } from "node:fs";

/** Section headers of one file that are looked at; a linker makes some 40. */
const MAX_SECTIONS = 1_024;
/** Longest table of section names, bytes. */
const MAX_NAMES_BYTES = 1_048_576;
const HEADER_BYTES = 64;
const MAGIC = 0x464c_457f;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;

/** Addresses of a section in the memory of a process that runs the file at its linked addresses. */
export interface LoadedSection {
  readonly from: bigint;
  readonly to: bigint;
}

/** The section called `name`; `undefined` when the file has none, is no such file, or cannot be read. */
export function findSection(path: string, name: string): LoadedSection | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return sectionIn(fd, name);
  } catch {
    // Cut short, or no program of this machine: nobody needs the section.
    return undefined;
  } finally {
    closeSync(fd);
  }
}

function sectionIn(fd: number, name: string): LoadedSection | undefined {
  const header = readAt(fd, 0, HEADER_BYTES);
  if (header.readUInt32LE(0) !== MAGIC || header[4] !== CLASS_64 || header[5] !== LITTLE_ENDIAN) return undefined;
  const [size, count, namesAt] = [header.readUInt16LE(58), header.readUInt16LE(60), header.readUInt16LE(62)];
  if (size < HEADER_BYTES || count > MAX_SECTIONS || namesAt >= count) return undefined;
  const table = readAt(fd, Number(header.readBigUInt64LE(40)), size * count);
  const field = (section: number, offset: number): bigint => table.readBigUInt64LE(section * size + offset);
  const namesBytes = Number(field(namesAt, 32));
  if (namesBytes > MAX_NAMES_BYTES) return undefined;
  const names = readAt(fd, Number(field(namesAt, 24)), namesBytes);
  for (let section = 0; section < count; section += 1) {
    const start = table.readUInt32LE(section * size);
    if (names.toString("latin1", start, names.indexOf(0, start)) !== name) continue;
    const from = field(section, 16);
    return { from, to: from + field(section, 32) };
  }
  return undefined;
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (readSync(fd, bytes, 0, length, offset) !== length) throw new Error("cannot read the file: it is too short");
  return bytes;
}
