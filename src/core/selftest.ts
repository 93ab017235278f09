/** What a test of an installation found, and its summary in the form that scripts of operators read. */

export interface SelftestResult {
  readonly name: string;
  /** skipped: what it tests is not installed or not configured here. */
  readonly outcome: "passed" | "failed" | "skipped";
  /** What was shown, what is wrong, or why it was skipped. */
  readonly detail: string;
}

export interface SelftestSummary {
  /** Those that ran. */
  readonly total: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Whole per cent of those that ran; 100 when none did. */
  readonly passRate: number;
}

const RULE = "=".repeat(42);
const MARKS = { passed: "PASS", failed: "FAIL", skipped: "SKIP" } as const;

export function summarize(results: readonly SelftestResult[]): SelftestSummary {
  const count = (outcome: SelftestResult["outcome"]): number =>
    results.filter((each) => each.outcome === outcome).length;
  const [passed, failed] = [count("passed"), count("failed")];
  const total = passed + failed;
  // Rounded down: one that failed of a thousand is not 100 %.
  const passRate = total === 0 ? 100 : Math.floor((passed / total) * 100);
  return { total, passed, failed, skipped: count("skipped"), passRate };
}

export function resultLine({ name, outcome, detail }: SelftestResult): string {
  return `${MARKS[outcome]}  ${name}: ${detail}`;
}

export function summaryText({ total, passed, failed, skipped, passRate }: SelftestSummary): string {
  return [
    RULE,
    "Recovery Test Summary",
    RULE,
    `Total tests: ${total}`,
    `Passed: ${passed}`,
    `Failed: ${failed}`,
    ...(skipped === 0 ? [] : [`Skipped: ${skipped}`]),
    `Pass rate: ${passRate}%`,
    RULE,
  ].join("\n");
}
