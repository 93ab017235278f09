/** The page docs/metrics.md, printed from the table of metrics. */
import { METRICS } from "./metrics.ts";

const INTRODUCTION = `# Metrics

Generated from the table of metrics by \`bun run generate\`. How to switch them on and what to alert on: [monitoring.md](monitoring.md).

A stopped bot keeps its series. \`NaN\` means that there is no value now: a comparison with it is false, so no alert fires on what is not known. A
metric whose last label is a state has one series for each state, of which one is 1.
`;

export function metricsMarkdown(): string {
  const rows = METRICS.map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`,
  );
  return [INTRODUCTION, "| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |", ...rows, ""].join("\n");
}
