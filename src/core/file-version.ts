/** The format version that a file of ours names, also where the rest of it is not understood. */

/** The positive whole number in the key `version`; 0 where there is none. */
export function versionOf(parsed: unknown): number {
  if (typeof parsed !== "object" || parsed === null || !("version" in parsed)) return 0;
  const { version } = parsed;
  return typeof version === "number" && Number.isSafeInteger(version) && version > 0 ? version : 0;
}
