/** Tells the journal why a bot was not started or armed: the answer goes to who has asked, and whoever reads the log of the night was not there. */
import type { Clock } from "../../platform/clock.ts";
import type { Bot } from "./bot.ts";

/** A reason that lasts is told anew after this time, ms: a script that tries each second must not fill the journal. */
const TOLD_FOR_MS = 3_600_000;
/** Reasons kept in mind of one bot; the oldest goes. */
const MAX_REASONS = 8;

/** Answers that forbid what was asked; what fails after it has begun is a decision, which the journal has. */
const FORBIDDEN: ReadonlySet<number> = new Set([409, 503]);

export class Refusals {
  readonly #clock: Clock;
  /** When each reason was told, monotonic ms, until the bot is let through. */
  readonly #told = new WeakMap<Bot, Map<string, number>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Looks at what was answered, and gives it back as it is. */
  async note(bot: Bot, answer: Response): Promise<Response> {
    const reason = FORBIDDEN.has(answer.status) ? messageIn(await answer.clone().json()) : undefined;
    if (reason === undefined) this.#told.delete(bot);
    else if (this.#isNews(bot, reason)) bot.fact("warn", `refused: ${reason}`);
    return answer;
  }

  #isNews(bot: Bot, reason: string): boolean {
    const told = this.#told.get(bot) ?? new Map<string, number>();
    this.#told.set(bot, told);
    const atMs = this.#clock.monotonicMs();
    const lastMs = told.get(reason);
    if (lastMs !== undefined && atMs - lastMs < TOLD_FOR_MS) return false;
    told.delete(reason);
    told.set(reason, atMs);
    const [oldest] = told.keys();
    if (told.size > MAX_REASONS && oldest !== undefined) told.delete(oldest);
    return true;
  }
}

function messageIn(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null || !("error" in body)) return undefined;
  const { error } = body;
  return typeof error === "object" && error !== null && "message" in error ? String(error.message) : undefined;
}
