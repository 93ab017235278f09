/** How willingly the kernel ends a process for want of memory: /proc/PID/oom_score_adj of proc(5), inherited by children. */
import { writeFileSync } from "node:fs";
import { systemClock } from "./clock.ts";
import { readProc } from "./proc.ts";

/** From -1000 (never) to 1000 (first); `undefined` when the process is gone. */
export function oomScoreAdj(pid: number | "self"): number | undefined {
  const text = readProc(`/proc/${pid}/oom_score_adj`)?.trim();
  return text === undefined || text === "" ? undefined : Number(text);
}

/** Sets it; raising is always allowed, lowering needs CAP_SYS_RESOURCE. `false` when it was refused or the process is gone. */
export function setOomScoreAdj(pid: number, score: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score), { flag: "r+" });
    return true;
  } catch {
    return false;
  }
}

/**
 * Takes from a child the protection that its supervisor has (a negative score, as OOMScoreAdjust= of systemd.exec(5) gives):
 * a bot that leaks must not outlive the rest of the machine. A score of 0 or above is inherited as it is, and one that the
 * child has set for itself stays.
 */
export function withdrawOomProtection(pid: number): void {
  const own = ownScore();
  if (own < 0 && oomScoreAdj(pid) === own) setOomScoreAdj(pid, 0);
}

/** For how long our own score is believed, ms: `systemctl set-property` or a person may change it. */
const OWN_SCORE_MS = 1_000;
let own = { score: 0, atMs: Number.NEGATIVE_INFINITY };

function ownScore(): number {
  const nowMs = systemClock.monotonicMs();
  if (nowMs - own.atMs >= OWN_SCORE_MS) own = { score: oomScoreAdj("self") ?? 0, atMs: nowMs };
  return own.score;
}
