/** Text of others (bodies, program output) made fit for a one-line reason. */

/** The longest excerpt of a body or of program output in a reason, in characters. */
const EXCERPT_CHARS = 512;

/** `text` on one line without control characters, at most `maxChars` long; "" when nothing is left. */
export function excerpt(text: string, maxChars: number = EXCERPT_CHARS): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
  return line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`;
}
