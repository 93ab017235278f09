/**
 * The check of a restored database (L2) by two processes, while its bot waits, and the action `check-share` that does the smaller
 * part. What the second one does not answer, the first does itself.
 */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import * as z from "zod";
import { later } from "../../core/later.ts";
import { shareCheck, type CheckShare } from "../../core/sqlite-shares.ts";
import { checkDatabase, checkShare, tablesToCheck } from "../../platform/sqlite-check.ts";
import { startWorker } from "../../platform/worker.ts";
import { defineAction } from "../contract.ts";

/** Below this the start of a process takes longer than it saves, bytes. */
const MIN_BYTES = 64 * 1_024 ** 2;
/** Ends a process that nobody waits for any more; the restore has a deadline of its own. */
const DEADLINE_MS = 6 * 3_600_000;

const jobSchema = later(() =>
  z.strictObject({ path: z.string().startsWith("/"), file: z.boolean(), tables: z.array(z.string()) }),
);
const answerSchema = later(() => z.strictObject({ findings: z.array(z.string()) }));

export const checkShareAction = defineAction({
  jobSchema,
  run: async ({ path, ...share }, { write }) => {
    write({ findings: await checkShare(path, share) });
    return 0;
  },
});

/** For tests. */
interface CheckOptions {
  readonly processes?: number;
  readonly minBytes?: number;
  /** Program of the second process. */
  readonly program?: readonly string[];
}

/** What `integrity_check` and `foreign_key_check` find wrong with a copy that nobody else has open; empty when nothing. */
export async function checkFully(
  path: string,
  { processes = availableParallelism(), minBytes = MIN_BYTES, program }: CheckOptions = {},
): Promise<readonly string[]> {
  const shares = processes > 1 && statSync(path).size >= minBytes ? await sharesOf(path) : undefined;
  if (shares === undefined) return checkDatabase(path, { quick: false });
  const [own, other] = shares;
  const helper = askHelper(path, other, program);
  try {
    const found = await checkShare(path, own);
    if (found.length > 0) return found;
    return (await helper?.answer) ?? (await checkShare(path, other));
  } finally {
    helper?.kill();
  }
}

/** `undefined` too when the schema cannot be read: the check of the whole says why. */
async function sharesOf(path: string): Promise<readonly [CheckShare, CheckShare] | undefined> {
  try {
    const tables = await tablesToCheck(path);
    return tables && shareCheck(tables);
  } catch {
    return undefined;
  }
}

interface Helper {
  /** `undefined`: it did not come to its end. Never rejects. */
  readonly answer: Promise<readonly string[] | undefined>;
  readonly kill: () => void;
}

/** `undefined` when it cannot be started. */
function askHelper(path: string, share: CheckShare, program: CheckOptions["program"]): Helper | undefined {
  const lines: string[] = [];
  try {
    const worker = startWorker({
      args: ["__action", "check-share"],
      job: JSON.stringify({ path, ...share }),
      deadlineMs: DEADLINE_MS,
      onLine: (line) => lines.push(line),
      ...(program === undefined ? {} : { program }),
    });
    let ended = false;
    const answer = worker.done.then(({ code }) => {
      ended = true;
      return code === 0 ? findingsIn(lines[0] ?? "") : undefined;
    });
    const kill = (): void => {
      if (!ended) worker.kill();
    };
    return { answer, kill };
  } catch {
    return undefined;
  }
}

function findingsIn(line: string): readonly string[] | undefined {
  try {
    return answerSchema.parse(JSON.parse(line)).findings;
  } catch {
    return undefined;
  }
}
