/** Every open order of an account, page by page: a venue that shows a hundred at a time must not look as if it had no more. */
import type { VenueFailure } from "../../core/venue-error.ts";
import type { OpenOrder } from "../../core/close-orders.ts";

export type Answer<T> = { readonly value: T } | { readonly failure: VenueFailure; readonly text: string };

/** One request for open orders; `limit` and `after` only where the venue has pages. */
export type PageReader<T> = (limit: number | undefined, after: string | undefined) => Promise<Answer<T[]>>;

/** 10 000 orders at 100 a page: several times what OKX lets an account have open. */
const MAX_PAGES = 100;

/** All pages or a failure; a part would read as "the rest is cancelled". */
export async function readAllPages<T extends OpenOrder>(
  pageRows: number | undefined,
  read: PageReader<T>,
): Promise<Answer<T[]>> {
  const orders: T[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    // Each page is asked for by the last id of the one before.
    // oxlint-disable-next-line no-await-in-loop
    const answer = await read(pageRows, after);
    if ("failure" in answer) return answer;
    const page = answer.value;
    orders.push(...page);
    if (pageRows === undefined || page.length < pageRows) return { value: orders };
    const oldest = oldestId(page);
    if (oldest === after) break;
    after = oldest;
  }
  return { failure: { kind: "unknown" }, text: `the venue shows more than ${MAX_PAGES} pages of open orders` };
}

/** Ids are numbers too long for a double, the oldest is the smallest. */
function oldestId(orders: readonly OpenOrder[]): string | undefined {
  return orders.reduce<string | undefined>(
    (oldest, { id }) => (oldest === undefined || isOlder(id, oldest) ? id : oldest),
    undefined,
  );
}

function isOlder(id: string, than: string): boolean {
  return id.length === than.length ? id < than : id.length < than.length;
}
