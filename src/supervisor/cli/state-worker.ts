/** `supervisor __state`: the worker of `supervisor state`; its job comes on standard input, its answer goes to descriptor 3. */
import { existsSync, writeSync } from "node:fs";
import { systemClock } from "../../platform/clock.ts";
import { stateJobSchema, type StateAnswer, type StateJob } from "./state-job.ts";
import type { Verb } from "./verb.ts";

/** Descriptor on which the worker answers. */
const ANSWER_FD = 3;

export const command: Verb = {
  name: "__state",
  summary: "Looks at a bot's state; started by supervisor state.",
  hidden: true,
  configure: (cmd) => {
    cmd.action(async () => {
      const answer = await answerTo(await Bun.stdin.text());
      writeSync(ANSWER_FD, `${JSON.stringify(answer)}\n`);
    });
  },
};

async function answerTo(text: string): Promise<StateAnswer> {
  try {
    return await done(stateJobSchema.parse(JSON.parse(text)));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const message = error instanceof Error ? error.message : String(error);
    // The words of SQLite for a file that is not there, or not ours to read.
    return {
      what: "failed",
      error: code.startsWith("SQLITE_") ? `cannot read the state: ${message} (${code})` : message,
    };
  }
}

async function done(job: StateJob): Promise<StateAnswer> {
  const { examineState, salvageState, viewState } = await import("../../bot/state/inspect.ts");
  const now = systemClock.wallTime().getTime();
  switch (job.what) {
    case "show": {
      const view = await viewState(job.folder);
      const breakers = view.breakers.map((each) => ({ ...each }));
      return { what: "show", view: { ...view, breakers, positions: [...view.positions], orders: [...view.orders] } };
    }
    case "doctor": {
      const { findings, backup, quarantines, ...rest } = await examineState(job.folder, now);
      const plain = { ...rest, findings: [...findings], quarantines: [...quarantines] };
      return { what: "doctor", examination: { ...plain, backup: backup && { ...backup, flaws: [...backup.flaws] } } };
    }
    case "level": {
      await setLevel(job, now);
      return { what: "level" };
    }
    case "rekey": {
      const { rekeyState } = await import("../../bot/state/rekey.ts");
      return { what: "rekey", rekeyed: { ...(await rekeyState(job.folder, job)) } };
    }
    case "salvage": {
      const { notes, ...rest } = await salvageState(job.folder, job.to, job.backups, now);
      return { what: "salvage", salvage: { ...rest, notes: [...notes] } };
    }
  }
}

/** Of the state, of the Python client's file, or of both: whatever the bot keeps its level in. */
async function setLevel({ folder, level, reason }: Extract<StateJob, { what: "level" }>, now: number): Promise<void> {
  const [{ setSavedLevel }, { keepsLevelFile, withLevelFile, writeLevelFile }, { stateFiles }] = await Promise.all([
    import("../../bot/state/set-level.ts"),
    import("./state-level-file.ts"),
    import("../../bot/state/files.ts"),
  ]);
  if (!keepsLevelFile(folder)) return setSavedLevel(folder, level, reason, now);
  return withLevelFile(folder, async () => {
    if (existsSync(stateFiles(folder).database)) await setSavedLevel(folder, level, reason, now);
    writeLevelFile(folder, level, reason);
  });
}
