/** A refusal as the venue words it; codes and messages follow Binance's "Error Codes" page for USDⓈ-M futures. */

/** An answer other than 2xx; `code` and `message` become the reply's body. */
export class VenueError extends Error {
  readonly code: number;
  /** HTTP status. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: number, message: string, status = 400, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = "VenueError";
    this.code = code;
    this.status = status;
    this.headers = headers;
  }
}

/** The venue's answer to a parameter that is missing. */
export function missing(parameter: string): VenueError {
  return new VenueError(-1102, `Mandatory parameter '${parameter}' was not sent, was empty/null, or malformed.`);
}
