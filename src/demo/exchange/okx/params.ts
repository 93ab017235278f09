/** Parameters of a request: the query of a GET, the JSON object or list of objects of a POST. */
import type { MarginMode, PositionSide, Side } from "../account.ts";
import type { Incoming } from "../dialect.ts";
import type { Market, SymbolSpec } from "../market.ts";
import { ItemError, RequestError, wrongParameter } from "./errors.ts";

/** Values by name, as text; OKX takes numbers and booleans in either form. */
export type Params = ReadonlyMap<string, string>;

/** One entry for each order of a list, else exactly one. Throws 50002 for a body that is not JSON. */
export function readParams({ method, query, body }: Incoming): Params[] {
  if (method === "GET") return [new Map(new URLSearchParams(query))];
  if (body === "") throw new RequestError("50000", "Body for POST request cannot be empty.", 400);
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new RequestError("50002", "JSON syntax error", 400);
  }
  return (Array.isArray(value) ? value : [value]).map(textValues);
}

function textValues(value: unknown): Params {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return new Map(
    entries.flatMap(([name, each]): [string, string][] =>
      typeof each === "string" || typeof each === "number" || typeof each === "boolean" ? [[name, String(each)]] : [],
    ),
  );
}

export function readSpec(market: Market, params: Params): SymbolSpec {
  const spec = market.specs.get(params.get("instId") ?? "");
  if (spec === undefined) throw new ItemError("51001", "Instrument ID doesn't exist.");
  return spec;
}

export function readSide(params: Params): Side {
  const side = params.get("side");
  if (side !== "buy" && side !== "sell") throw wrongParameter("side");
  return side === "buy" ? "BUY" : "SELL";
}

/** `net` or nothing in net mode, `long` or `short` in hedge mode. */
export function readPositionSide(hedge: boolean, params: Params): PositionSide {
  const text = params.get("posSide") ?? "";
  if (!hedge && (text === "" || text === "net")) return "BOTH";
  if (hedge && text === "long") return "LONG";
  if (hedge && text === "short") return "SHORT";
  throw wrongParameter("posSide");
}

export function readMarginMode(params: Params, name: "tdMode" | "mgnMode" = "tdMode"): MarginMode {
  const text = params.get(name);
  if (text !== "cross" && text !== "isolated") throw wrongParameter(name);
  return text;
}

/** A number above zero. */
export function readPositive(params: Params, name: string): number {
  const text = params.get(name) ?? "";
  if (!/^\d+(\.\d+)?$/.test(text) || Number(text) <= 0) throw wrongParameter(name);
  return Number(text);
}

/** Letters and digits, at most 32. */
export function readClientId(params: Params, name: string): string {
  const id = params.get(name) ?? "";
  if (id !== "" && !/^[A-Za-z0-9]{1,32}$/.test(id)) throw wrongParameter(name);
  return id;
}
