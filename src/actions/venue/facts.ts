/** What an error of ccxt or of the transport says, in the form that core/venue-error.ts classifies. */
import * as ccxtErrors from "../../../node_modules/ccxt/js/src/base/errors.js";
import type { VenueErrorFacts } from "../../core/venue-error.ts";
import { UnreachableError } from "./transport.ts";

/** The class names survive minification only as `instanceof` against ccxt's own exports. */
export function factsOf(error: unknown): VenueErrorFacts {
  const chain = Object.entries(ccxtErrors).flatMap(([name, Class]) =>
    typeof Class === "function" && error instanceof Class ? [name] : [],
  );
  if (!(error instanceof Error)) return { name: "Error", message: String(error), chain };
  const unreachable = error instanceof UnreachableError ? error.message : undefined;
  return { name: error.name, message: error.message, chain, unreachable };
}

/** An order that ccxt hands back as rejected instead of throwing, which it does for one of several in a reply. */
export class RejectedOrderError extends ccxtErrors.InvalidOrder {
  constructor(info: unknown) {
    super(`the venue refused the order: ${JSON.stringify(info)}`);
  }
}
