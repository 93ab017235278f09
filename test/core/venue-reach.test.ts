import { expect, test } from "vitest";
import { unreachableReason } from "../../src/core/venue-reach.ts";

test.each([
  ["ECONNREFUSED", undefined, "connection refused"],
  ["EHOSTUNREACH", undefined, "no route to the host"],
  ["ENETUNREACH", undefined, "network unreachable"],
  ["ETIMEDOUT", undefined, "connection timed out"],
  ["ENOTFOUND", "getaddrinfo", "the name does not resolve"],
  ["ESERVFAIL", "getaddrinfo", "the name does not resolve"],
  ["EPROTO", undefined, "TLS handshake failed"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", undefined, "TLS failed, DEPTH_ZERO_SELF_SIGNED_CERT"],
  ["CERT_HAS_EXPIRED", undefined, "TLS failed, CERT_HAS_EXPIRED"],
])("unreachableReason() of %s by %s is %s", (code, syscall, expected) => {
  expect(unreachableReason({ code, syscall })).toBe(expected);
});

test.each(["ECONNRESET", "UnexpectedRedirect", "toString", undefined])(
  "unreachableReason() of %s is none, for the request may have left",
  (code) => {
    expect(unreachableReason({ code, syscall: undefined })).toBeUndefined();
  },
);
