/** The faults of every venue, which a test injects into chosen requests over `POST /__paper/fault`; each is used up request by request. */
import * as z from "zod";
import { remember } from "./account.ts";

/** Longest wait of one request, ms; shorter than the time after which an idle connection is closed. */
const MAX_WAIT_MS = 100_000;
const MAX_BAN_SECONDS = 86_400;
const MAX_TIMES = 100_000;
/** Faults that may be pending at once; the oldest goes first. */
const MAX_FAULTS = 1_000;

const waitMs = z.int().min(0).max(MAX_WAIT_MS);
const waitSeconds = z.number().min(0).max(MAX_BAN_SECONDS);
const common = {
  match: z
    .string()
    .min(1)
    .describe(
      'Substring of "METHOD /path?parameters", for example "POST /fapi/v1/order"; the body counts as parameters.',
    ),
  times: z.int().min(1).max(MAX_TIMES).default(1).describe("Matching requests that are hit."),
  after: z.int().min(0).max(MAX_TIMES).default(0).describe("Matching requests that are let through first."),
};

export const faultSchema = z.discriminatedUnion("kind", [
  z.strictObject({ ...common, kind: z.literal("latency"), ms: waitMs }),
  z.strictObject({
    ...common,
    kind: z.literal("http"),
    status: z.int().min(400).max(599),
    retryAfter: waitSeconds.optional(),
  }),
  z.strictObject({
    ...common,
    kind: z.literal("apiCode"),
    code: z.int(),
    msg: z.string(),
    status: z.int().min(200).max(599).optional().describe("Default: what the venue uses, 400 on Binance, 200 on OKX."),
  }),
  z.strictObject({ ...common, kind: z.literal("dropBefore") }).describe("The connection dies; nothing is executed."),
  z.strictObject({ ...common, kind: z.literal("dropAfter") }).describe("Executed; the reply is lost."),
  z
    .strictObject({ ...common, kind: z.literal("late"), ms: waitMs })
    .describe("The connection dies; executed ms later."),
  z
    .strictObject({ ...common, kind: z.literal("stallBody") })
    .describe("Executed; headers arrive, the body never ends."),
  z.strictObject({ ...common, kind: z.literal("garbage") }).describe("Status 200 with HTML; nothing is executed."),
  z
    .strictObject({ ...common, kind: z.literal("partial"), ratio: z.number().gt(0).lt(1) })
    .describe("An order that would fill at once fills by this share; the rest expires."),
  z
    .strictObject({ ...common, kind: z.literal("crossed"), ratio: z.number().gt(0).max(1) })
    .describe("This share of every resting order is executed just before the request: a cancel that crosses a fill."),
  z
    .strictObject({ ...common, kind: z.literal("rejectReduceOnly") })
    .describe("A reduce-only order is refused, whatever the position is."),
  z
    .strictObject({ ...common, kind: z.literal("rateLimit"), retryAfterSeconds: waitSeconds })
    .describe("Refused as too frequent; OKX names no time to wait."),
  z
    .strictObject({ ...common, kind: z.literal("ban"), seconds: waitSeconds })
    .describe("From this request on, everything is refused for a while."),
]);

export type Fault = z.output<typeof faultSchema>;

export class Faults {
  readonly #pending: Fault[] = [];

  add(fault: Fault): void {
    remember(this.#pending, { ...fault }, MAX_FAULTS);
  }

  clear(): void {
    this.#pending.length = 0;
  }

  /** Faults that still wait for a request. */
  list(): readonly Fault[] {
    return this.#pending;
  }

  /** The fault that hits a request, used up once; every earlier fault it matches counts it down. */
  take(request: string): Fault | undefined {
    for (const fault of this.#pending) {
      if (!request.includes(fault.match)) continue;
      if (fault.after > 0) {
        fault.after -= 1;
        continue;
      }
      fault.times -= 1;
      if (fault.times === 0) this.#pending.splice(this.#pending.indexOf(fault), 1);
      return fault;
    }
    return undefined;
  }
}
