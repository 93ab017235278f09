/**
 * Refuses a successful answer that is none: ccxt's parsers read HTML, a body cut off or an empty one as "nothing is open", and an
 * account must not be called flat for that. Such an answer is a failure of unknown outcome.
 */
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";
import { quirksOf } from "./quirks.ts";
import type { ListPart } from "./quirks.ts";

/** Puts the check before ccxt's own look at errors, which every answer passes with its parsed body. */
export function guardAnswers(exchange: VenueExchange): void {
  const { listOf } = quirksOf(exchange.id);
  const look = exchange.handleErrors.bind(exchange);
  exchange.handleErrors = (status, reason, url, method, headers, body, answer, ...sent) => {
    const path = URL.parse(url)?.pathname ?? "";
    // What ccxt finds wrong is told in its own classes; only what it takes for good is looked at again.
    const found = look(status, reason, url, method, headers, body, answer, ...sent);
    const good = status >= 200 && status < 300;
    const [, request] = sent;
    const list = listOf(method, path, typeof request === "string" ? request : "");
    const flaw = good ? flawOf(list, method, { body, answer }) : undefined;
    if (flaw !== undefined) throw new Error(`cannot use the venue's answer to ${method} ${path}: ${flaw}`);
    return found;
  };
}

interface Content {
  readonly body: unknown;
  readonly answer: unknown;
}

function flawOf(list: ListPart | undefined, method: string, { body, answer }: Content): string | undefined {
  if (list !== undefined) return missingList(answer, list);
  // Whatever changes something may be answered by the status alone; an order needs its id besides.
  if (method !== "GET" && body === "") return undefined;
  if (typeof answer !== "object" || answer === null) return "it is no JSON";
  return method === "GET" && Object.keys(answer).length === 0 && !Array.isArray(answer) ? "it is empty" : undefined;
}

function missingList(answer: unknown, { at, orNull }: ListPart): string | undefined {
  const found = at.reduce<unknown>((part, name) => asRecord(part)[name], answer);
  if (Array.isArray(found) || (orNull === true && found === null)) return undefined;
  return at.length === 0 ? "it is no list" : `it has no list of ${at.join(".")}`;
}
