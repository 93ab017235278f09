/** `struct sockaddr_un` for a path or an abstract name, as the kernel takes it (unix(7)). */

const AF_UNIX = 1;
/** Longest path of a unix socket: sun_path holds 108 bytes with the final NUL. */
export const MAX_SOCKET_PATH_BYTES = 107;

/** Address of `path`; a leading "@" means the abstract namespace. `undefined` when it is empty or too long. */
export function unixAddress(path: string): Uint8Array | undefined {
  const abstract = path.startsWith("@");
  const name = Buffer.from(path);
  if (name.length === 0 || name.length > MAX_SOCKET_PATH_BYTES) return undefined;
  if (abstract) name[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  // An abstract name ends with the address; a path ends with a NUL.
  return Buffer.concat(abstract ? [family, name] : [family, name, Buffer.of(0)]);
}
