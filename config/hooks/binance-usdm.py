#!/usr/bin/env python3
"""A close hook of driver exec for Binance USD-M futures, with Python's standard library alone.

Reads one request from standard input, writes one answer to standard output. Needs EXCHANGE_KEY and EXCHANGE_SECRET
(emergency.passEnv); EXCHANGE_URL is another address. What is asked and answered: docs/emergency.md, "Drivers".
"""

import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BASE = os.environ.get("EXCHANGE_URL", "https://fapi.binance.com")
# A request that comes later than this is not executed, ms; one whose answer was lost is dead by then.
RECV_WINDOW_MS = 5000
# Below the 10 s after which the supervisor ends this program, s.
TIMEOUT_S = 6
# Binance's code -> the class of the answer. Any other code of an order is a plain refusal.
CLASS_OF_CODE = {
    -1003: "throttled", -1015: "throttled", -1021: "clock", -2014: "auth", -2015: "auth",
    -1111: "size", -4003: "size", -4005: "size", -2022: "reduceOnly", -4118: "reduceOnly",
    -4061: "positionSide", -4131: "band", -4016: "band", -4024: "band",
}  # fmt: skip
# Codes after which nobody knows whether the order was executed.
UNKNOWN_CODES = {-1000, -1001, -1006, -1007, -1008}


class Refused(Exception):
    """The venue said no: nothing was executed."""

    def __init__(self, code, message):
        super().__init__(message)
        self.kind = CLASS_OF_CODE.get(code, "rejected")


def call(method, path, **parameters):
    """One signed call. Raises Refused for a clear no and anything else when nobody knows."""
    parameters = {name: value for name, value in parameters.items() if value is not None}
    parameters.update(timestamp=int(time.time() * 1000), recvWindow=RECV_WINDOW_MS)
    query = urllib.parse.urlencode(parameters)
    secret = os.environ["EXCHANGE_SECRET"].encode()
    query += "&signature=" + hmac.new(secret, query.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{BASE}{path}?{query}", method=method)
    request.add_header("X-MBX-APIKEY", os.environ["EXCHANGE_KEY"])
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code in (418, 429):
            raise Refused(-1003, f"status {error.code}") from None
        body = json.load(error)  # No JSON: a gateway's page, and nobody knows what became of the request.
        if error.code >= 500 or body["code"] in UNKNOWN_CODES:
            raise
        raise Refused(body["code"], f"{body['code']} {body['msg']}") from None


def snapshot():
    """Everything that is open. An answer that is no list raises: it must not look like an empty account."""
    positions = []
    for row in call("GET", "/fapi/v3/positionRisk"):
        amount = float(row["positionAmt"])
        if amount != 0:
            positions.append({
                "symbol": row["symbol"], "side": "long" if amount > 0 else "short", "amount": abs(amount),
                "hedged": row["positionSide"] != "BOTH", "notional": abs(float(row["notional"])),
                "markPrice": float(row["markPrice"]),
            })  # fmt: skip
    orders = [
        {"id": str(row["orderId"]), "clientId": row["clientOrderId"], "symbol": row["symbol"],
         "reduceOnly": row["reduceOnly"] or row["closePosition"]}
        for row in call("GET", "/fapi/v1/openOrders")
    ]  # fmt: skip
    orders += [
        {"id": str(row["algoId"]), "clientId": row["clientAlgoId"], "symbol": row["symbol"], "trigger": True}
        for row in call("GET", "/fapi/v1/openAlgoOrders")
    ]
    if positions:
        with urllib.request.urlopen(f"{BASE}/fapi/v1/exchangeInfo", timeout=TIMEOUT_S) as response:
            rules = {row["symbol"]: rules_of(row) for row in json.load(response)["symbols"]}
        for position in positions:
            position.update(rules[position["symbol"]])
    return {"ok": True, "positions": positions, "orders": orders}


def rules_of(market):
    filters = {row["filterType"]: row for row in market["filters"]}
    lot, market_lot = filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
    return {
        "minAmount": float(lot["minQty"]),
        "stepAmount": float(lot["stepSize"]),
        "maxAmount": float(market_lot["maxQty"]),
    }


def native(symbol):
    """Beside the driver ccxt (emergency.hook) symbols are spelled as ccxt does: BTC/USDT:USDT."""
    return symbol.split(":")[0].replace("/", "")


def cancel(request):
    path = "/fapi/v1/algoOpenOrders" if request.get("trigger") else "/fapi/v1/allOpenOrders"
    call("DELETE", path, symbol=native(request["symbol"]))
    return {"ok": True}


def close(request):
    """One order that can only reduce. In hedge mode the leg says so, and Binance refuses the flag."""
    hedged = request["hedged"]
    limit = request.get("limitPrice")
    order = call(
        "POST", "/fapi/v1/order", symbol=native(request["symbol"]), side=request["side"].upper(),
        type="MARKET" if limit is None else "LIMIT", quantity=f"{request['amount']:.8f}".rstrip("0").rstrip("."),
        price=limit, timeInForce=None if limit is None else "IOC",
        positionSide=request["positionSide"].upper() if hedged else None, reduceOnly=None if hedged else "true",
        newClientOrderId=request["id"], newOrderRespType="RESULT",
    )  # fmt: skip
    answer = {"ok": True, "placed": "yes", "filled": float(order["executedQty"])}
    if float(order["avgPrice"]) > 0:
        answer["average"] = float(order["avgPrice"])
    return answer


def main():
    request = json.loads(sys.stdin.readline())
    operation = request["op"]
    try:
        if operation == "preflight":
            call("GET", "/fapi/v3/account")
            answer = {"ok": True}
        elif operation == "snapshot":
            answer = snapshot()
        elif operation == "cancel" and "symbol" in request:
            answer = cancel(request)
        elif operation == "close" and "symbol" in request:
            answer = close(request)
        else:
            answer = {"ok": False, "placed": "no", "error": {"class": "unsupported", "msg": operation}}
    except Refused as error:
        answer = {"ok": False, "placed": "no", "error": {"class": error.kind, "msg": str(error)}}
    # Any other exception ends the program with code 1, and that means: nobody knows.
    json.dump(answer, sys.stdout)


main()
