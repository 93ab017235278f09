/** The failure classes, by the messages that ccxt 4 throws for the venues' own codes. */
import { describe, expect, test } from "vitest";
import {
  classifyVenueError,
  describeFailure,
  failureText,
  missedAnswer,
  waitsText,
} from "../../src/core/venue-error.ts";

const CHAINS = {
  RateLimitExceeded: ["BaseError", "OperationFailed", "NetworkError", "RateLimitExceeded"],
  DDoSProtection: ["BaseError", "OperationFailed", "NetworkError", "DDoSProtection"],
  InvalidNonce: ["BaseError", "OperationFailed", "NetworkError", "InvalidNonce"],
  RequestTimeout: ["BaseError", "OperationFailed", "NetworkError", "RequestTimeout"],
  ExchangeNotAvailable: ["BaseError", "OperationFailed", "NetworkError", "ExchangeNotAvailable"],
  BadResponse: ["BaseError", "OperationFailed", "BadResponse"],
  AuthenticationError: ["BaseError", "ExchangeError", "AuthenticationError"],
  PermissionDenied: ["BaseError", "ExchangeError", "AuthenticationError", "PermissionDenied"],
  InvalidOrder: ["BaseError", "ExchangeError", "InvalidOrder"],
  DuplicateOrderId: ["BaseError", "ExchangeError", "InvalidOrder", "DuplicateOrderId"],
  OperationRejected: ["BaseError", "ExchangeError", "OperationRejected"],
  MarketClosed: ["BaseError", "ExchangeError", "OperationRejected", "MarketClosed"],
  BadRequest: ["BaseError", "ExchangeError", "BadRequest"],
  InsufficientFunds: ["BaseError", "ExchangeError", "InsufficientFunds"],
  NotSupported: ["BaseError", "ExchangeError", "NotSupported"],
  ArgumentsRequired: ["BaseError", "ExchangeError", "ArgumentsRequired"],
  ExchangeError: ["BaseError", "ExchangeError"],
} as const;

const rows: [keyof typeof CHAINS, string, string][] = [
  ["DDoSProtection", 'binanceusdm 429 {"code":-1003,"msg":"Too many requests"}', "throttled"],
  ["DDoSProtection", 'binanceusdm {"code":-2015,"msg":"Invalid API-key, IP, or permissions for action"}', "auth"],
  ["RateLimitExceeded", 'okx {"code":"50011","msg":"Rate limit reached"}', "throttled"],
  ["ExchangeError", 'okx {"code":"50061","msg":"You\'ve reached the maximum order rate limit"}', "throttled"],
  ["ExchangeError", 'okx {"code":"50120","msg":"This API key doesn\'t have permission"}', "auth"],
  ["ExchangeError", 'okx {"code":"1","data":[{"clOrdId":"a","sCode":"50036","sMsg":"The expTime"}]}', "clock"],
  ["ExchangeError", 'okx {"code":"1","data":[{"clOrdId":"a","sCode":"51149","sMsg":"Order timed out."}]}', "unknown"],
  [
    "InvalidOrder",
    'okx {"code":"1","data":[{"clOrdId":"a","sCode":"51112","sMsg":"Close order size exceeds your available size."}]}',
    "rejected reduceOnly",
  ],
  [
    "BadRequest",
    'okx {"code":"1","data":[{"clOrdId":"a","sCode":"51000","sMsg":"Parameter posSide error"}]}',
    "rejected positionSide",
  ],
  [
    "BadRequest",
    'okx {"code":"1","data":[{"clOrdId":"a","sCode":"51000","sMsg":"Parameter clOrdId error"}]}',
    "rejected clientId",
  ],
  // The name of a field of the reply is no reason.
  [
    "InsufficientFunds",
    'okx {"code":"1","data":[{"clOrdId":"a","sCode":"51008","sMsg":"Insufficient margin"}]}',
    "rejected other",
  ],
  [
    "InvalidNonce",
    'binanceusdm {"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}',
    "clock",
  ],
  ["BadRequest", 'binanceusdm {"code":-5028,"msg":"Timestamp outside of the ME recvWindow."}', "clock"],
  ["AuthenticationError", 'binanceusdm {"code":-2014,"msg":"API-key format invalid."}', "auth"],
  ["PermissionDenied", 'bybit {"retCode":10005}', "auth"],
  ["NotSupported", "zebpay fetchOpenOrders() is not supported yet", "unsupported"],
  ["ArgumentsRequired", "binance cancelAllOrders() requires a symbol argument", "unsupported"],
  ["InvalidOrder", 'binanceusdm {"code":-2022,"msg":"ReduceOnly Order is rejected."}', "rejected reduceOnly"],
  [
    "OperationRejected",
    'binanceusdm {"code":-4118,"msg":"ReduceOnly Order Failed. Please check your existing position and open orders"}',
    "rejected reduceOnly",
  ],
  [
    "OperationRejected",
    'binanceusdm {"code":-4131,"msg":"The counterparty\'s best price does not meet the PERCENT_PRICE filter limit."}',
    "rejected band",
  ],
  ["BadRequest", 'binanceusdm {"code":-4005,"msg":"Quantity greater than max quantity."}', "rejected size"],
  [
    "BadRequest",
    'binanceusdm {"code":-1111,"msg":"Precision is over the maximum defined for this asset."}',
    "rejected size",
  ],
  [
    "ExchangeError",
    'binanceusdm {"code":-4061,"msg":"Order\'s position side does not match user\'s setting."}',
    "rejected positionSide",
  ],
  [
    "ExchangeError",
    'okx {"code":"1","data":[{"sCode":"51202","sMsg":"Market order amount exceeds the maximum amount."}]}',
    "rejected size",
  ],
  [
    "ExchangeError",
    'okx {"code":"1","data":[{"sCode":"51169","sMsg":"Order failed. You don\'t have positions to reduce."}]}',
    "rejected reduceOnly",
  ],
  [
    "InvalidOrder",
    'bybit {"retCode":110017,"retMsg":"current position is zero, cannot fix reduce-only order qty"}',
    "rejected reduceOnly",
  ],
  ["BadRequest", 'binanceusdm {"code":-4015,"msg":"Client order id is not valid."}', "rejected clientId"],
  ["DuplicateOrderId", 'binanceusdm {"code":-4116,"msg":"ClientOrderId is duplicated."}', "rejected other"],
  ["MarketClosed", "cme the instrument is in a reserved state", "rejected band"],
  ["InsufficientFunds", 'binanceusdm {"code":-2019,"msg":"Margin is insufficient."}', "rejected other"],
  ["RequestTimeout", "binanceusdm POST https://fapi.binance.com/fapi/v1/order request timed out", "unknown"],
  ["ExchangeNotAvailable", 'binanceusdm {"code":-1008,"msg":"Server is currently overloaded"}', "unknown"],
  ["BadResponse", "binanceusdm returned an empty response", "unknown"],
];

describe("classifyVenueError()", () => {
  test.each(rows)("classifyVenueError() reads %s %s as %s", (name, message, expected) => {
    const failure = classifyVenueError({ name, message, chain: CHAINS[name] });
    expect(failure.kind === "rejected" ? `rejected ${failure.why}` : failure.kind).toBe(expected);
  });

  test.each(["TypeError", "DOMException", "SyntaxError", "Error"])(
    "classifyVenueError() takes a %s that is not ccxt's for unknown, whatever its text says",
    (name) => {
      const facts = { name, message: 'quantity {"code":-1021} reduceOnly', chain: [] };
      expect(classifyVenueError(facts)).toEqual({ kind: "unknown" });
    },
  );

  test("classifyVenueError() takes a venue that was not reached for unknown and keeps the sentence", () => {
    const unreachable = "cannot reach https://venue (connection refused)";
    const failure = classifyVenueError({ name: "Error", message: unreachable, chain: [], unreachable });
    expect(failure).toEqual({ kind: "unknown", unreachable });
    expect(describeFailure(failure)).toBe(unreachable);
  });
});

test("waitsText() says why readings do not come, and nothing of what is not tried again", () => {
  const away = { kind: "unknown", unreachable: "cannot reach https://venue (connection refused)" } as const;
  expect(waitsText([])).toBeUndefined();
  expect(waitsText([{ kind: "auth" }, { kind: "unsupported" }])).toBeUndefined();
  expect(waitsText([{ kind: "throttled" }, away])).toBe(away.unreachable);
  expect(waitsText([{ kind: "auth" }, { kind: "unknown" }])).toBe("the venue could not be read (no usable answer)");
});

test("describeFailure() names the reading and the address, and failureText() the failure that says most", () => {
  const at = { what: "the positions", address: "https://venue" };
  const silent = { kind: "unknown", at: { ...at, why: "no answer in time" } } as const;
  const away = { kind: "unknown", at, unreachable: "cannot reach https://venue (connection refused)" } as const;
  expect(describeFailure(silent)).toBe("cannot read the positions at https://venue: no answer in time");
  expect(describeFailure({ kind: "throttled", at })).toBe(
    "cannot read the positions at https://venue: it asks for fewer requests",
  );
  expect(describeFailure(away)).toBe(away.unreachable);
  expect(failureText([{ kind: "unknown" }, silent, away])).toBe(away.unreachable);
  expect(failureText([{ kind: "unknown" }, silent])).toBe(describeFailure(silent));
  expect(failureText([{ kind: "unknown" }])).toBeUndefined();
});

test.each([
  [
    "ExchangeNotAvailable",
    "binanceusdm GET https://venue/v3/positionRisk 503 Service Unavailable x",
    "it answered with status 503",
  ],
  ["RequestTimeout", "binanceusdm GET https://venue/x request timed out (10000 ms)", "no answer in time"],
  ["NetworkError", "binanceusdm GET https://venue/x fetch failed", "the connection broke off"],
  ["BadResponse", "binanceusdm returned an empty response", undefined],
])("missedAnswer() of %s %s is %s", (name, message, why) => {
  expect(missedAnswer({ name, message, chain: [name, "BaseError"] })).toBe(why);
});

test("describeFailure() says what the venue answered where it was reached", () => {
  expect(describeFailure({ kind: "throttled" })).toBe("the venue could not be read (it asks for fewer requests)");
  expect(describeFailure({ kind: "unknown" })).toBe("the venue could not be read (no usable answer)");
});
