/** How far a long deed is, for people: a line that is redrawn on a terminal, a line for each tenth elsewhere. Pure. */
import { formatSize } from "./size.ts";

export interface DeedProgress {
  /** What is being done, as "storing". */
  readonly step: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface DisplayState {
  readonly step: string;
  /** When the step began and when the line was last drawn, monotonic ms. */
  readonly startMs: number;
  readonly drawnMs: number;
  /** Tenths that were told. */
  readonly tenths: number;
}

const BAR_CHARS = 24;
/** Between two drawings on a terminal. */
const REDRAW_MS = 100;
/** A step that is over sooner needs no lines. */
const PATIENCE_MS = 2_000;

/** The next state and the text to show, if any. `terminal`: it takes the place of the one before. */
export function showProgress(
  state: DisplayState | undefined,
  progress: DeedProgress,
  { atMs, terminal }: { readonly atMs: number; readonly terminal: boolean },
): { readonly state: DisplayState; readonly text: string | undefined } {
  const { step, doneBytes, totalBytes } = progress;
  const now =
    state === undefined || state.step !== step ? { step, startMs: atMs, drawnMs: atMs - REDRAW_MS, tenths: 0 } : state;
  const share = totalBytes === 0 ? 0 : Math.min(1, doneBytes / totalBytes);
  if (terminal) {
    if (atMs - now.drawnMs < REDRAW_MS && share < 1) return { state: now, text: undefined };
    const filled = Math.round(share * BAR_CHARS);
    const bar = `[${"#".repeat(filled)}${" ".repeat(BAR_CHARS - filled)}]`;
    return { state: { ...now, drawnMs: atMs }, text: `${step} ${bar} ${figures(progress, share, atMs - now.startMs)}` };
  }
  const tenths = Math.floor(share * 10);
  const tells = tenths > now.tenths && atMs - now.startMs >= PATIENCE_MS;
  if (!tells) return { state: now, text: undefined };
  return { state: { ...now, tenths }, text: `${step}: ${figures(progress, share, atMs - now.startMs)}` };
}

/** Bytes, rate and the time that is left, by the rate so far. */
function figures({ doneBytes, totalBytes }: DeedProgress, share: number, tookMs: number): string {
  const rate = tookMs <= 0 ? 0 : (doneBytes / tookMs) * 1_000;
  const leftSeconds = rate === 0 ? undefined : Math.max(0, Math.ceil((totalBytes - doneBytes) / rate));
  const parts = [`${Math.floor(share * 100)} % of ${formatSize(totalBytes)}`, `${formatSize(Math.round(rate))}/s`];
  return [...parts, leftSeconds === undefined ? "" : `${timeText(leftSeconds)} left`].filter(Boolean).join(", ");
}

function timeText(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
