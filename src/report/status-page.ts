/** The status object as one read-only HTML page: no script, nothing from elsewhere, and every word of it escaped. */
import { plainText } from "../core/plain-text.ts";
import type { Status } from "../core/status.ts";
import { botRow, headline, HEADER, probeTable, remarks, supervisorRemarks } from "./status-table.ts";
import type { Cell } from "./text-table.ts";

/** How often a browser asks for the page anew, seconds. */
const REFRESH_SECONDS = 5;

/** What a browser may do with the page: show it, in no frame of another. For the header `Content-Security-Policy`. */
export const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 ui-monospace, monospace; }
body { margin: 1.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 0.2rem 1rem 0.2rem 0; text-align: left; white-space: nowrap; }
tbody tr { border-top: 1px solid #8884; }
pre { white-space: pre-wrap; }
.bold { font-weight: bold; } .dim { opacity: 0.6; }
.green { color: light-dark(#176b2c, #6fd388); } .yellow { color: light-dark(#7a5200, #e8c05a); } .red { color: light-dark(#b00020, #ff8080); }
footer { opacity: 0.7; }
`;

/** The page of the status as of now; `status` is fresh, so that it tells no age. */
export function statusPage(status: Status): string {
  const notes = [
    ...supervisorRemarks(status.supervisor, plainText),
    ...status.bots.flatMap((bot) => remarks(bot, plainText)),
  ];
  const probes = status.bots.map((bot) => probeTable(bot, plainText)).filter((text) => text !== "");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${REFRESH_SECONDS}">
<title>supervisor: ${status.supervisor.health}</title>
<style>${STYLE}</style>
</head>
<body>
<p>${escapeHtml(headline(status, undefined, plainText))}</p>
<div class="wide">
<table>
<thead><tr>${HEADER.map((text) => `<th scope="col">${escapeHtml(text)}</th>`).join("")}</tr></thead>
<tbody>
${status.bots.map((bot) => `<tr>${botRow(bot).map(cellHtml).join("")}</tr>`).join("\n")}
</tbody>
</table>
</div>
${linesHtml(notes)}${linesHtml(probes)}<footer>as of ${escapeHtml(status.supervisor.asOf)}, shown anew every ${REFRESH_SECONDS} s; nothing can be changed from here</footer>
</body>
</html>
`;
}

/** Styles of the terminal are the classes of the page. */
function cellHtml([text, style]: Cell): string {
  const shown = escapeHtml(plainText(text));
  return style === undefined ? `<td>${shown}</td>` : `<td class="${[style].flat().join(" ")}">${shown}</td>`;
}

function linesHtml(lines: readonly string[]): string {
  return lines.length === 0 ? "" : `<pre>${escapeHtml(lines.join("\n"))}</pre>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
