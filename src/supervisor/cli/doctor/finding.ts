/** One line of `supervisor doctor`: what was looked at, how it is, what that means, and what to do about it. */

export interface Finding {
  readonly check: string;
  /** `problem`: the supervisor cannot do its work here. `warning`: it works, with less. */
  readonly result: "ok" | "warning" | "problem";
  /** What is there and what it means. */
  readonly text: string;
  /** What to do; absent where nothing is to be done. */
  readonly fix?: string;
}

export function ok(check: string, text: string): Finding {
  return { check, result: "ok", text };
}

export function warning(check: string, text: string, fix: string): Finding {
  return { check, result: "warning", text, fix };
}

export function problem(check: string, text: string, fix: string): Finding {
  return { check, result: "problem", text, fix };
}
