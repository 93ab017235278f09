/** An account that a hook of the user's reaches: one request for each operation, its answers believed no further than core/close-hook.ts says. */
import {
  deedFailure,
  HOOK_TIMEOUT_MS,
  orderFields,
  readHookAnswer,
  readingOf,
  sendResultOf,
} from "../../core/close-hook.ts";
import type { HookAnswer, HookRequest } from "../../core/close-hook.ts";
import type { HookAccess } from "../../core/close-job.ts";
import type { CancelOrders, CloseOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import { Bucket } from "./bucket.ts";
import { originOf } from "./transport.ts";
import type { SendAnswer, Venue, VenueOptions } from "./contract.ts";

/** What a hook gave back: its text, or why there is none. */
export type HookReply =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "none"; readonly why: string; readonly unreachable?: string };

/** Carries one request to the hook and its answer back, within 10 s; never throws. */
export type HookPort = (request: HookRequest) => Promise<HookReply>;

/** Ten calls a second, as for a venue whose limits we do not know. */
const LIMITS = { burst: 20, perSecond: 10 };
/** A process each: more would only wait for each other. */
const CONCURRENCY = 5;
/** A hook that says "too many" names no time, ms. */
const THROTTLED_PAUSE_MS = 1_000;
const MAX_ERROR_CHARS = 200;

export class HookVenue implements Venue {
  readonly concurrency = CONCURRENCY;
  /** By then the hook is ended, and it was told that nothing may be executed later. */
  readonly orderWindowMs = HOOK_TIMEOUT_MS;
  readonly #access: HookAccess;
  readonly #incident: string;
  readonly #options: VenueOptions;
  readonly #port: HookPort;
  readonly #bucket: Bucket;
  /** Makes the ids of this run differ from those of every other. */
  readonly #run = crypto.randomUUID().slice(0, 8);
  #requests = 0;
  #unseen = false;

  constructor(access: HookAccess, incident: string, options: VenueOptions, port: HookPort) {
    this.#access = access;
    this.#incident = incident;
    this.#options = options;
    this.#port = port;
    this.#bucket = new Bucket(LIMITS, options.clock);
  }

  get calls(): number {
    return this.#requests;
  }

  get paused(): boolean {
    return this.#bucket.paused;
  }

  /** Nothing: a hook whose preflight is broken may still close. */
  async prepare(): Promise<undefined> {
    return undefined;
  }

  symbolProblem(): undefined {
    return undefined;
  }

  /** What the hook says of itself; one that does not know the operation says nothing. */
  async preflight(): Promise<VenueFailure | undefined> {
    const failure = deedFailure((await this.#ask("preflight", {})).answer);
    return failure?.kind === "unsupported" ? undefined : failure;
  }

  async read(): Promise<Reading> {
    const { answer, why, unreachable } = await this.#ask("snapshot", {});
    const reading = readingOf(answer, this.#access.symbols);
    this.#unseen = reading.failures.some(({ kind }) => kind === "unsupported");
    if (unreachable !== undefined) return { ...reading, failures: [{ kind: "unknown", unreachable }] };
    const lacks = answer?.ok === true ? "its answer lacks positions or orders" : why;
    const at = { what: "the account", address: addressOf(this.#access), why: lacks };
    return { ...reading, failures: reading.failures.map((failure) => ({ ...failure, at })) };
  }

  async admitOrder(): Promise<boolean> {
    return this.#bucket.take(1, this.#options.signal);
  }

  async send(order: CloseOrder): Promise<SendAnswer> {
    return this.#close(order.id, orderFields(order));
  }

  async cancel({ symbol, trigger, orders }: CancelOrders): Promise<VenueFailure[]> {
    return this.#cancel({ symbol, trigger, orders: orders.map(({ id }) => id) });
  }

  /** For a hook that cannot show the account: tells it once to cancel and close everything. `undefined` when it can. */
  async closeUnseen(): Promise<SendAnswer | undefined> {
    if (!this.#unseen) return undefined;
    await this.#cancel({});
    const { symbols } = this.#access;
    if (symbols.length === 0) return this.#close(this.#nextId("close"), {});
    const answers: SendAnswer[] = [];
    for (const symbol of symbols) {
      // Safe: one after the other, within the rate of the hook.
      // oxlint-disable-next-line no-await-in-loop
      answers.push(await this.#close(this.#nextId("close"), { symbol }));
    }
    return answers.find(({ result }) => result.kind !== "accepted") ?? answers[0];
  }

  async #close(id: string, fields: Partial<HookRequest>): Promise<SendAnswer> {
    const { answer, why } = await this.#ask("close", { ...fields, id });
    const result = sendResultOf(answer);
    if (result.kind === "accepted") return { result, average: answer?.average, error: undefined };
    return { result, average: undefined, error: why };
  }

  async #cancel(fields: Partial<HookRequest>): Promise<VenueFailure[]> {
    const failure = deedFailure((await this.#ask("cancel", fields)).answer);
    return failure === undefined ? [] : [failure];
  }

  /** One request. Orders have their tokens from `admitOrder`. */
  async #ask(op: HookRequest["op"], fields: Partial<HookRequest>): Promise<Heard> {
    const { clock, signal, onFailure } = this.#options;
    if (op !== "close" && !(await this.#bucket.take(1, signal)))
      return { answer: undefined, why: "the time was over before the call", unreachable: undefined };
    this.#requests += 1;
    const deadlineMs = clock.wallTime().getTime() + HOOK_TIMEOUT_MS;
    const own = { v: 1, op, incident: this.#incident, id: this.#nextId(op), reduceOnly: true, deadlineMs } as const;
    const reply = await this.#port({ ...own, ...fields });
    const heard = hear(reply);
    const failure = op === "close" ? sendResultOf(heard.answer) : deedFailure(heard.answer);
    if (failure !== undefined && failure.kind !== "accepted") {
      onFailure(failure);
      if (failure.kind === "throttled") this.#bucket.throttle(THROTTLED_PAUSE_MS);
    }
    return heard;
  }

  #nextId(op: string): string {
    return `${this.#incident}-${this.#run}-${op}${this.#requests + 1}`;
  }
}

/** Without the arguments or the path, which may hold a secret. */
function addressOf(access: HookAccess): string {
  if (access.driver === "webhook") return `the hook ${originOf(access.url) ?? "of the config"}`;
  return `the hook ${access.command[0] ?? "of the config"}`;
}

interface Heard {
  readonly answer: HookAnswer | undefined;
  /** Why it is no success, for people. */
  readonly why: string;
  readonly unreachable: string | undefined;
}

function hear(reply: HookReply): Heard {
  if (reply.kind === "none") {
    const { why, unreachable } = reply;
    return { answer: undefined, why: why.slice(0, MAX_ERROR_CHARS), unreachable };
  }
  const answer = readHookAnswer(reply.text);
  const said = answer?.error?.msg ?? answer?.error?.class ?? "no reason given";
  const why = answer === undefined ? "its answer is not one of a close hook" : said;
  return { answer, why: why.slice(0, MAX_ERROR_CHARS), unreachable: undefined };
}
