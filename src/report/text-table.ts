/** Tables for a terminal: columns as wide as their widest cell, coloured after they are laid out, fewer where it is narrow. */
import { plainText } from "../core/plain-text.ts";

/** Select Graphic Rendition of ECMA-48: what switches each style on and off. Written here, as node:util costs a command a millisecond. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
} as const;
export type Style = keyof typeof STYLES | readonly (keyof typeof STYLES)[];

/** A cell: its text, and the style that it gets after the columns are laid out. */
export type Cell = readonly [text: string, style?: Style | undefined];

export type Paint = (text: string, style?: Style) => string;

export interface TextTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** Names of the columns that a narrow terminal does without, the first to go first. */
  readonly dispensable: readonly string[];
}

/** Space between two columns, characters. */
const GAP = 2;

/** Every word of a bot or a venue goes through it: none of them may move the cursor. */
export function painter(colour: boolean): Paint {
  return (text, style) => (style === undefined || !colour ? plainText(text) : styled(style, plainText(text)));
}

function styled(style: Style, text: string): string {
  const styles = typeof style === "string" ? [style] : style;
  return styles.reduceRight((inner, name) => `\u001B[${STYLES[name][0]}m${inner}\u001B[${STYLES[name][1]}m`, text);
}

/**
 * The table in at most `columns` characters a line, as far as leaving out columns does it: no cell is ever cut. What is left
 * out is named below. `undefined`: all columns, however wide.
 */
export function layOut({ header, rows, dispensable }: TextTable, columns: number | undefined, paint: Paint): string {
  const cells = [header.map((text): Cell => [text, "bold"]), ...rows];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.[0].length ?? 0)));
  const left = fitting(header, widths, dispensable, columns ?? Infinity);
  const lines = cells.map((row) =>
    row
      .flatMap(([text, style], column) =>
        left.has(header[column] ?? "") ? [] : [paint(text.padEnd(widths[column] ?? 0), style)],
      )
      .join(" ".repeat(GAP))
      .trimEnd(),
  );
  if (left.size > 0) lines.push(paint(`(too narrow for ${[...left].join(", ")})`, "dim"));
  return lines.join("\n");
}

/** The columns to leave out, in the order of the table. */
function fitting(
  header: readonly string[],
  widths: readonly number[],
  dispensable: readonly string[],
  columns: number,
): ReadonlySet<string> {
  const out = new Set<string>();
  let total = widths.reduce((sum, width) => sum + width + GAP, -GAP);
  for (const name of dispensable) {
    if (total <= columns) break;
    out.add(name);
    total -= (widths[header.indexOf(name)] ?? 0) + GAP;
  }
  return new Set(header.filter((name) => out.has(name)));
}
