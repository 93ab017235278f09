/** Makes words of bots and venues harmless to a terminal: no control character of theirs may move the cursor or forge a line. */

/** C0, DEL, C1 and Unicode's own line breaks; each is a command, or a new line, to some terminal (ECMA-48). */
// Safe: control characters are what this file is about.
// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001F\u007F-\u009F\u2028\u2029]/g;

/** The text with each control character replaced by a space; its length stays. */
export function plainText(text: string): string {
  return text.replace(CONTROLS, " ");
}

/** JSON that equals `JSON.stringify(value)` once parsed, and holds no control character that JSON itself lets through. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value).replace(
    CONTROLS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
