/** Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): families of samples as lines. */

export interface Sample {
  /** In the order in which they are written. */
  readonly labels: Readonly<Record<string, string>>;
  /** NaN: there is a series, and now no value. */
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter";
  readonly samples: readonly Sample[];
}

/** What an HTTP answer in this format says of itself. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** HELP and TYPE once for each family, also for one without samples; ends with a line break. */
export function expose(families: readonly Family[]): string {
  return families.map((family) => `${familyLines(family).join("\n")}\n`).join("");
}

function familyLines({ name, help, type, samples }: Family): readonly string[] {
  return [
    `# HELP ${name} ${escapeHelp(help)}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(({ labels, value }) => `${name}${labelText(labels)} ${numberText(value)}`),
  ];
}

function labelText(labels: Sample["labels"]): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}

/** As Go's ParseFloat reads it. */
function numberText(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
