"""A bot in Python that its supervisor can watch, ask and dump: one symbol of Binance's USDⓈ-M futures, or of the paper exchange.

Needs VENUE_URL, VENUE_KEY and VENUE_SECRET, and supervisor_client.py beside it. Each second it asks for the price; now and then it
buys a little, and sells it again. No strategy: it shows where the calls of the client belong.
"""

import faulthandler
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from supervisor_client import Blackbox, Breaker, GateRefused, Levels, Notifier, Retrier, RetryBudget, no_new_orders

# Lets the supervisor have the stack of every thread when the bot hangs.
faulthandler.enable()

URL, KEY, SECRET = os.environ["VENUE_URL"], os.environ["VENUE_KEY"], os.environ["VENUE_SECRET"]
SYMBOL = os.environ.get("SYMBOL", "BTCUSDT")
SIZE = 0.01
TICK_SECONDS = float(os.environ.get("TICK_SECONDS", "1"))
ORDER_EVERY = 5
TIMEOUT_SECONDS = 5


class BaseError(Exception):
    """An answer of the venue that is an error; named as in ccxt, by whose names the client knows what an error means."""


class ExchangeError(BaseError):
    """It refuses this very request."""


class RateLimitExceeded(BaseError):
    retry_after = None


def ask(method, path, signed=False, **params):
    query = urllib.parse.urlencode(params)
    if signed:
        query = urllib.parse.urlencode({**params, "timestamp": int(time.time() * 1_000), "recvWindow": 5_000})
        query += "&signature=" + hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{URL}{path}?{query}", method=method, headers={"X-MBX-APIKEY": KEY})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read(500).decode("utf8", "replace")
        if error.code in (418, 429):
            limited = RateLimitExceeded(text)
            limited.retry_after = error.headers.get("Retry-After")
            raise limited from None
        if 400 <= error.code < 500:
            raise ExchangeError(text) from None
        raise


class Bot:
    def __init__(self):
        self.stop = threading.Event()
        self.notify = Notifier()
        self.box = Blackbox()
        self.levels = Levels(blackbox=self.box, on_change=lambda old, new, why: print(f"level {old} -> {new}: {why}"))
        budget = RetryBudget(time.monotonic() * 1_000)
        settings = {"open_ms": float(os.environ.get("BREAKER_OPEN_MS", "30000"))}
        self.market = Breaker("venue.market", self.box, on_change=self.market_changed, **settings)
        # Orders have a breaker of their own: market data that fails must not keep the bot from closing.
        self.orders = Breaker("venue.order", self.box, **settings)
        shared = {"budget": budget, "levels": self.levels, "stop": self.stop, "base_ms": 200, "max_retries": 2}
        self.read = Retrier(self.market, **shared)
        self.trade = Retrier(self.orders, **shared)
        self.sent = 0

    def market_changed(self, before, after, reason):
        if after == "closed":
            self.levels.propose("breaker:market", "normal", "", 0)
        else:
            self.levels.propose("breaker:market", "degraded", f"market data: {reason}", 120_000)

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        self.box.record("start", {"pid": os.getpid()})
        print("trading", SYMBOL, "on", URL, flush=True)
        self.notify.ready()
        ticks = 0
        while not self.stop.is_set():
            try:
                with self.box.operation("read_price", SYMBOL):
                    price = float(self.read.call(self.price)["price"])
                ticks += 1
                if ticks % ORDER_EVERY == 0:
                    self.place("BUY" if self.sent % 2 == 0 else "SELL", price)
            except Exception as error:
                self.box.record("tick.failed", {"error": type(error).__name__}, sev="warn", msg=str(error))
            # It beats at every level, also while the venue is down: a restart would not repair the venue.
            self.notify.beat(progress=ticks, status=f"level {self.levels.level}, {self.sent} orders")
            self.box.loop()
            self.stop.wait(TICK_SECONDS)
        self.notify.stopping()
        self.box.record("stop")

    def price(self):
        return ask("GET", "/fapi/v1/ticker/price", symbol=SYMBOL)

    def place(self, side, price):
        action = "open" if side == "BUY" else "reduce"
        if action == "open" and no_new_orders():
            return
        try:
            size = round(SIZE * self.levels.gate(action), 3)
        except GateRefused as refused:
            self.box.record("order.refused", msg=str(refused))
            return
        # Known before it is sent, so that a lost reply can be asked for.
        name = f"py-{os.environ.get('SUPERVISOR_GENERATION', '0')}-{os.getpid()}-{self.sent + 1}"
        order = {"symbol": SYMBOL, "side": side, "type": "MARKET", "quantity": size, "newClientOrderId": name}
        if action == "reduce":
            order["reduceOnly"] = "true"
        with self.box.operation("place_order", name):
            self.box.record("order.sent", {**order, "price": price})
            hang_if_asked()
            answer = self.trade.call(lambda: ask("POST", "/fapi/v1/order", signed=True, **order), "order", action)
            self.sent += 1
            self.box.record("order.done", {"id": name, "status": answer.get("status")})


def hang_if_asked():
    """For trying out what a dump shows: as long as the file HANG_FILE names is there, the bot turns in circles."""
    while os.path.exists(os.environ.get("HANG_FILE", "")):
        pass


if __name__ == "__main__":
    Bot().run()
    sys.exit(0)
