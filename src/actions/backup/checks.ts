/** Asks a restored database what its target's checks want to know (core/backup-checks.ts). */
import { planChecks, type CheckInput, type CheckResult } from "../../core/backup-checks.ts";

/** `ask` answers with the values of the first row, and throws what the database says. Never throws itself. */
export async function askChecks(
  input: Omit<CheckInput, "timeText">,
  ask: (sql: string) => Promise<readonly unknown[]>,
): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = [];
  for (const each of planChecks({ ...input, timeText })) {
    // One after the other: it is one connection.
    // oxlint-disable-next-line no-await-in-loop
    results.push("sql" in each ? await answered(each, ask) : each);
  }
  return results;
}

async function answered(
  { name, sql, judge }: Extract<ReturnType<typeof planChecks>[number], { readonly sql: string }>,
  ask: (sql: string) => Promise<readonly unknown[]>,
): Promise<CheckResult> {
  try {
    return judge(await ask(sql));
  } catch (cause) {
    return { name, ok: false, text: `it cannot be asked: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
}

/** A time of the database for people; a number that is none, as it is. */
function timeText(ms: number): string {
  // A calendar day as a fraction is not exact to the millisecond.
  const time = new Date(Math.round(ms / 1_000) * 1_000);
  return Number.isNaN(time.getTime()) ? String(ms) : time.toISOString().replace(/\.\d+/, "");
}
