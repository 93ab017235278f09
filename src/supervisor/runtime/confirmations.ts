/** Tokens that tie a confirmed close to the plan that a person has seen: one use, one bot on one account, 120 seconds. */
import type { CloseGoal } from "../../core/close-goal.ts";
import type { CloseReport } from "../../core/close-job.ts";
import type { Clock } from "../../platform/clock.ts";

/** How long a person may think about a plan, ms; positions move, so an old plan is no consent. */
const TOKEN_LIFE_MS = 120_000;
/** Tokens kept at a time; the oldest goes first. */
const MAX_TOKENS = 32;
/** Length of a token, characters: short enough to copy by hand. */
const TOKEN_CHARS = 10;

/** What is to be closed; a reload may have given the bot another account since the plan. */
interface Subject {
  readonly bot: string;
  readonly account: string;
  readonly goal: CloseGoal;
}

export class Confirmations {
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { readonly seen: string; readonly untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  issue(subject: Subject, report: CloseReport): string {
    const seen = JSON.stringify({ ...subject, before: report.before, nonce: crypto.randomUUID() });
    const token = new Bun.CryptoHasher("sha256").update(seen).digest("hex").slice(0, TOKEN_CHARS);
    for (const oldest of [...this.#tokens.keys()].slice(0, Math.max(0, this.#tokens.size - MAX_TOKENS + 1)))
      this.#tokens.delete(oldest);
    this.#tokens.set(token, { seen: textOf(subject), untilMs: this.#clock.monotonicMs() + TOKEN_LIFE_MS });
    return token;
  }

  /** Uses a token up; false when it is unknown, another bot's, of a plan of another account or with another goal, or too old. */
  redeem(subject: Subject, token: string): boolean {
    const known = this.#tokens.get(token);
    if (known === undefined || known.seen !== textOf(subject)) return false;
    this.#tokens.delete(token);
    return known.untilMs >= this.#clock.monotonicMs();
  }
}

function textOf({ bot, account, goal }: Subject): string {
  return JSON.stringify([bot, account, goal.kind, goal.kind === "reduce" ? goal.exposure : null]);
}
