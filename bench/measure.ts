/** Numbers of a benchmark: medians with their range, beside a baseline measured in the same run, as a Markdown table. */
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export type Unit = "calls" | "ms" | "MiB" | "% of a core" | "/s" | "files" | "s" | "runs" | "events";

export interface Row {
  readonly what: string;
  readonly unit: Unit;
  readonly values: readonly number[];
  /** What the values are compared with; `undefined` for a row that is its own baseline. */
  readonly baseline?: { readonly name: string; readonly values: readonly number[] };
  /** Each value was measured right beside the baseline's of the same index: the ratio is the median of theirs. */
  readonly paired?: boolean;
  /** What the project promises, in `unit`: of the median, or of the worst run. */
  readonly target?: number;
  readonly targetOf?: "median" | "worst";
  /** What the project promises where more is better. */
  readonly atLeast?: number;
  /** What the project promises of the ratio to the baseline. */
  readonly targetRatio?: number;
}

/** The middle value; of an even number of values the mean of the two in the middle. Throws for no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  if (upper === undefined || lower === undefined) throw new Error("cannot take the median of no values");
  return (upper + lower) / 2;
}

export function table(rows: readonly Row[]): string {
  const head = ["what", "runs", "median (min–max)", "baseline", "its median (min–max)", "ratio", "target"];
  return [head, head.map(() => "---"), ...rows.map(cells)].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function cells(row: Row): string[] {
  const { what, unit, values, baseline } = row;
  return [
    what,
    String(values.length),
    spread(values, unit),
    baseline?.name ?? "–",
    baseline === undefined ? "–" : spread(baseline.values, unit),
    baseline === undefined ? "–" : ratio(row),
    promise(row),
  ];
}

function says(text: string, met: boolean): string {
  return `${text}: ${met ? "met" : "missed"}`;
}

function promise(row: Row): string {
  const { unit, values, baseline, target, targetOf = "median", targetRatio, atLeast } = row;
  if (targetRatio !== undefined && baseline !== undefined)
    return says(`≤ ${targetRatio}×`, ratioOf(row) <= targetRatio);
  if (atLeast !== undefined) return says(`≥ ${atLeast} ${unit}`, median(values) >= atLeast);
  if (target === undefined) return "–";
  const judged = targetOf === "median" ? median(values) : Math.max(...values);
  return says(`${targetOf} ≤ ${target} ${unit}`, judged <= target);
}

function spread(values: readonly number[], unit: Unit): string {
  const range = `${digits(Math.min(...values))}–${digits(Math.max(...values))}`;
  return `${digits(median(values))} ${unit} (${range})`;
}

function ratio(row: Row): string {
  const is = ratioOf(row);
  return Number.isFinite(is) ? `${digits(is)}×` : "–";
}

/** NaN or Infinity where the baseline is 0 or none. */
function ratioOf({ values, baseline, paired = false }: Row): number {
  const beside = baseline?.values ?? [];
  if (paired) return median(values.map((value, at) => value / (beside[at] ?? Number.NaN)));
  return beside.length === 0 ? Number.NaN : median(values) / median(beside);
}

/** Three significant digits: more would be noise. */
function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  if (value >= 1 || value === 0) return value.toFixed(2);
  return value.toPrecision(3);
}

/** The machine in one line, with how busy it was when the benchmark began. */
export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown CPU";
  const memory = (totalmem() / 1024 ** 3).toFixed(0);
  const load = loadavg()
    .map((value) => value.toFixed(2))
    .join(" ");
  return `${cpus().length} × ${model}, ${memory} GiB, Linux ${release()}, ${distribution()}, load average ${load}`;
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown distribution";
  } catch {
    return "unknown distribution";
  }
}
