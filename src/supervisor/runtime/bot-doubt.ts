/**
 * What keeps our hands off a bot: a living process may be it and may not, another supervisor may run it, or a newer release knows of it what this
 * one does not read. It is then neither started nor ended nor closed. The reasons are in bot-setup.ts.
 */
import type { Census } from "../../platform/census.ts";
import type { BotPlan } from "./bot-plan.ts";
import { refuseDoubt, refuseNewer, refuseStrangers, refuseSupervised } from "./bot-setup.ts";
import { kinOf, ownReading, readIdentityFile, type Remains } from "./survey.ts";

export interface BotDoubtDeps {
  readonly plan: BotPlan;
  readonly remains: readonly Remains[];
  readonly configured: ReadonlySet<string>;
  /** Of the first look; left out, it is made. */
  readonly census?: Census | undefined;
  /** As in `BotDeps`. */
  readonly holdsDoubtful?: boolean | undefined;
  /** As in `BotDeps`. */
  readonly closesOnly?: boolean | undefined;
  /** Ends what earlier supervisors have left of the bot; what survives, as people are told. */
  readonly end: () => Promise<string | undefined>;
}

export class BotDoubt {
  readonly #deps: BotDoubtDeps;
  #found: Error | undefined;
  #looking: Promise<Error | undefined> | undefined;

  /** Throws what it finds, unless it is to be held. */
  constructor(deps: BotDoubtDeps) {
    this.#deps = deps;
    this.#found = this.#judge((each) => each, deps.census);
    if (this.#found !== undefined && deps.holdsDoubtful !== true) throw this.#found;
  }

  /** What is in doubt, and what a person can do; `undefined`: nothing is. */
  get text(): string | undefined {
    if (this.#found === undefined) return undefined;
    const hint = hintOf(this.#found);
    return hint === undefined ? this.#found.message : `${this.#found.message}; ${hint}`;
  }

  /**
   * Looks again at what was in doubt. Once nothing is, what earlier supervisors have left is ended: only then it is over. Answers what still
   * is in doubt. Never throws.
   */
  look(): Promise<Error | undefined> {
    if (this.#found === undefined) return Promise.resolve(undefined);
    // A second look must not end what the first one has let start.
    this.#looking ??= this.#lookAgain().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookAgain(): Promise<Error | undefined> {
    let found = this.#judge(asOfNow);
    if (found === undefined) {
      const survivors = await this.#deps.end();
      // The main process may have ended since the look, and what it leaves may bear no mark.
      if (survivors === undefined) found = this.#judge(asOfNow);
      else found = new Error(`cannot supervise ${this.#deps.plan.name}: ${survivors} of it cannot be ended`);
    }
    this.#found = found;
    return found;
  }

  #judge(read: (each: Remains) => Remains, census?: Census): Error | undefined {
    const { plan, configured, closesOnly } = this.#deps;
    try {
      const remains = this.#deps.remains.map(read);
      const own = remains.find((each) => each.name === plan.name);
      refuseStrangers(plan, own?.identity, census);
      // Whoever only closes ends whatever bears the marks of the bot.
      if (own !== undefined && closesOnly !== true) refuseNewer(own);
      refuseSupervised(plan, remains, configured);
      refuseDoubt(plan, own?.identity, kinOf(plan, remains, configured), census);
      return undefined;
    } catch (error) {
      // Unknown is not nobody.
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}

/** What a person can do about it; `undefined`: nobody knows. */
export function hintOf(error: Error): string | undefined {
  return "hint" in error && typeof error.hint === "string" ? error.hint : undefined;
}

/** A person may have taken an identity away meanwhile, as the hint says. One that cannot be read is not taken away: what it said still counts. */
function asOfNow(each: Remains): Remains {
  const identityReading = ownReading(each.name, readIdentityFile(each.files.identity));
  switch (identityReading.kind) {
    case "known":
      return { ...each, identityReading, identity: identityReading.identity };
    case "absent":
      return { ...each, identityReading, identity: undefined };
    case "newer":
      return { ...each, identityReading };
    case "damaged":
      return each;
  }
}
