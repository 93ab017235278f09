/** Refusals as OKX words them; codes, messages and HTTP statuses follow its "Error Code" page. */

/** A refusal of a whole request. */
export class RequestError extends Error {
  readonly code: string;
  /** HTTP status; OKX mostly answers 200. */
  readonly status: number;

  constructor(code: string, message: string, status = 200) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.status = status;
  }
}

/** A refusal of one order or cancel; it becomes `sCode` and `sMsg` of that entry. */
export class ItemError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "ItemError";
    this.code = code;
  }
}

/** The parameter is missing, malformed or does not fit the account's settings. */
export function wrongParameter(name: string): ItemError {
  return new ItemError("51000", `Parameter ${name} error`);
}
