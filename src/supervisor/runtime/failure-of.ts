/** For deeds on the disk that may fail, and whose failure is only told. */

/** Why the deed failed; `undefined`: it did not. */
export function failureOf(deed: () => void): string | undefined {
  try {
    deed();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
