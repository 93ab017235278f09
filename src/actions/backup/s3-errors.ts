/** What a store that speaks S3 means by its errors: which may pass, and what a person has to do about the others. */
import type { RemoteSettings } from "../../core/backup-remote.ts";

/** Error answers are some hundred bytes of XML. */
const MAX_ERROR_CHARS = 4_096;

/** It may pass by itself: the network, a busy store. */
export class PassingError extends Error {}

/** The store said no: trying again changes nothing. */
export class RefusedError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Codes of a local file that was to be sent. */
const FILE_CODES: readonly string[] = ["ENOENT", "EACCES", "EPERM", "EISDIR", "EIO", "ENOTDIR"];

/** Of OpenSSL's verification and of the name: another try brings the same certificate. */
const CERTIFICATE_CODE = /CERT|UNABLE_TO_(?:VERIFY|GET_ISSUER)|^CRL_/;

type Names = Pick<RemoteSettings, "bucket" | "region">;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; others use the same names. */
const MEANINGS: Readonly<Record<string, (names: Names) => string>> = {
  NoSuchBucket: ({ bucket }) => `there is no bucket ${bucket}; create it, or correct its name`,
  InvalidBucketName: ({ bucket }) => `${bucket} is no name of a bucket`,
  InvalidAccessKeyId: () => "the store does not know this access key id",
  SignatureDoesNotMatch: () => "the secret access key is not that of this access key id",
  AccessDenied: () => "this access key is not allowed to",
  AllAccessDisabled: () => "this access key is not allowed to",
  AccountProblem: () => "there is a problem with the account at the store",
  InvalidToken: () => "the store does not accept these credentials any more",
  ExpiredToken: () => "the store does not accept these credentials any more",
  RequestTimeTooSkewed: () => "the clock of this machine differs from the store's by too much",
  AuthorizationHeaderMalformed: ({ region }) => `the bucket is not in the region ${region}`,
  AuthorizationQueryParametersError: ({ region }) => `the bucket is not in the region ${region}`,
  PermanentRedirect: ({ region }) => `the bucket is not in the region ${region}, or has another endpoint`,
  TemporaryRedirect: ({ region }) => `the bucket is not in the region ${region}, or has another endpoint`,
  QuotaExceeded: () => "the quota of the bucket is used up",
  EntityTooLarge: () => "the store does not take objects of this size",
  MethodNotAllowed: () => "the store does not allow this",
  NotImplemented: () => "the store cannot do this",
};

/** The error that an answer stands for. */
export async function errorOf(response: Response, names: Names): Promise<PassingError | RefusedError> {
  const { code, message } = readError(await response.text().catch(() => ""));
  const said = [`${response.status}`, code, message].filter((part) => part !== "").join(" ");
  const { status } = response;
  // The body was damaged on its way, or took too long: the next one may not be.
  const passing =
    status >= 500 || status === 429 || status === 408 || code === "BadDigest" || code === "RequestTimeout";
  if (passing) return new PassingError(`the store answers ${said}`);
  const known = code === "" && status >= 300 && status < 400 ? "PermanentRedirect" : code;
  return new RefusedError(known, meaning(known, names) ?? `the store answers ${said}`);
}

/** What was thrown while a request was under way, as an error that may pass; `undefined` when it will not. */
export function asPassing(cause: unknown): PassingError | undefined {
  if (cause instanceof PassingError) return cause;
  if (cause instanceof RefusedError || !(cause instanceof Error)) return undefined;
  if (cause.name === "TimeoutError") return new PassingError("the store does not answer in time", { cause });
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
  // An error of the network has a code as ECONNRESET; one without is a mistake of ours, and these are of a file of ours.
  return code === undefined || FILE_CODES.includes(code) || CERTIFICATE_CODE.test(code)
    ? undefined
    : new PassingError(`the store cannot be reached: ${cause.message}`, { cause });
}

/** In words, of what will not pass. */
export function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  if (!CERTIFICATE_CODE.test(code)) return cause.message;
  const hint =
    code === "ERR_TLS_CERT_ALTNAME_INVALID"
      ? "the endpoint must be a name that its certificate has"
      : "name the file of its authority's certificate in the store's caFile";
  return `the certificate of the store is not accepted: ${cause.message} (${code}); ${hint}`;
}

function meaning(code: string, names: Names): string | undefined {
  const words = MEANINGS[code]?.(names);
  return words === undefined ? undefined : `${words} (${code})`;
}

function readError(text: string): { readonly code: string; readonly message: string } {
  const short = text.slice(0, MAX_ERROR_CHARS);
  return {
    code: /<Code>([A-Za-z]{1,64})<\/Code>/.exec(short)?.[1] ?? "",
    message: (/<Message>([^<]{1,300})/.exec(short)?.[1] ?? "").trim(),
  };
}
