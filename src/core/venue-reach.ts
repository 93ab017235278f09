/** Why no connection to a venue came about; the codes are those of connect(2), getaddrinfo(3) and OpenSSL's verify(1), as Bun's fetch reports them. */

/** The fields of a failed fetch that tell; `undefined` where it has none. */
export interface FetchFailure {
  readonly code: string | undefined;
  readonly syscall: string | undefined;
}

const REASON_OF_CODE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connection timed out",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name does not resolve",
  EPROTO: "TLS handshake failed",
};
/** Codes of a certificate that is not accepted. */
const CERTIFICATE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|ERR_TLS_|ERR_SSL_)/;

/** `undefined` when the request may have left: a connection that was reset or fell silent says nothing about its fate. */
export function unreachableReason({ code = "", syscall }: FetchFailure): string | undefined {
  const known = Object.hasOwn(REASON_OF_CODE, code) ? REASON_OF_CODE[code] : undefined;
  if (known !== undefined) return known;
  if (syscall === "getaddrinfo") return "the name does not resolve";
  return CERTIFICATE.test(code) ? `TLS failed, ${code}` : undefined;
}
