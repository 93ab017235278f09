/** Tokens that tie a confirmed close to the plan that a person has seen: one use, one bot, 120 seconds. */
import type { CloseGoal } from "../../core/close-goal.ts";
import type { CloseReport } from "../../core/close-job.ts";
import type { Clock } from "../../platform/clock.ts";

/** How long a person may think about a plan, ms; positions move, so an old plan is no consent. */
const TOKEN_LIFE_MS = 120_000;
/** Tokens kept at a time; the oldest goes first. */
const MAX_TOKENS = 32;
/** Length of a token, characters: short enough to copy by hand. */
const TOKEN_CHARS = 10;

export class Confirmations {
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { readonly seen: string; readonly untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  issue(bot: string, goal: CloseGoal, report: CloseReport): string {
    const seen = JSON.stringify({ bot, goal, before: report.before, nonce: crypto.randomUUID() });
    const token = new Bun.CryptoHasher("sha256").update(seen).digest("hex").slice(0, TOKEN_CHARS);
    for (const oldest of [...this.#tokens.keys()].slice(0, Math.max(0, this.#tokens.size - MAX_TOKENS + 1)))
      this.#tokens.delete(oldest);
    this.#tokens.set(token, { seen: subjectOf(bot, goal), untilMs: this.#clock.monotonicMs() + TOKEN_LIFE_MS });
    return token;
  }

  /** Uses a token up; false when it is unknown, another bot's, of a plan with another goal, or too old. */
  redeem(bot: string, goal: CloseGoal, token: string): boolean {
    const known = this.#tokens.get(token);
    if (known === undefined || known.seen !== subjectOf(bot, goal)) return false;
    this.#tokens.delete(token);
    return known.untilMs >= this.#clock.monotonicMs();
  }
}

function subjectOf(bot: string, goal: CloseGoal): string {
  return JSON.stringify([bot, goal.kind, goal.kind === "reduce" ? goal.exposure : null]);
}
