"""Tests of supervisor_client.py that the vectors do not hold: `python3 -m unittest test_client`."""

import asyncio
import json
import os
import pathlib
import socket
import tempfile
import threading
import unittest
from unittest import mock

from supervisor_client import (
    Blackbox,
    Breaker,
    CircuitOpenError,
    GateRefused,
    Levels,
    Notifier,
    Retrier,
    RetryBudget,
    closes_by_supervisor,
    judge_error,
    retry_after_of,
)


class BaseError(Exception):
    pass


class NetworkError(BaseError):
    pass


class RateLimitExceeded(NetworkError):
    retry_after = "7"


def fail(error):
    raise error


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name


class NotifierTest(Scratch):
    def test_says_fields_without_waiting_and_goes_on_when_nobody_reads(self):
        path = os.path.join(self.folder, "notify")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(path)
        notify = Notifier({"NOTIFY_SOCKET": path})
        self.addCleanup(notify.close)
        self.assertTrue(notify.beat(progress=1, status="two\nlines"))
        self.assertEqual(server.recv(4096), b"WATCHDOG=1\nX_PROGRESS=1\nSTATUS=two lines")
        # More than the kernel keeps: the rest is dropped, and none waits.
        self.assertIn(False, [notify.beat(progress=number) for number in range(10_000)])
        server.close()
        self.assertFalse(notify.beat())
        os.unlink(path)
        self.assertFalse(notify.beat())

    def test_hears_the_next_supervisor_at_the_same_path(self):
        path = os.path.join(self.folder, "notify")
        notify = Notifier({"NOTIFY_SOCKET": path})
        self.addCleanup(notify.close)
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
                server.bind(path)
                self.assertTrue(notify.ready())
                self.assertEqual(server.recv(100), b"READY=1")
            os.unlink(path)

    def test_does_nothing_without_a_supervisor(self):
        self.assertFalse(Notifier({}).ready())


class BlackboxTest(Scratch):
    def box(self, **limits):
        env = {"SUPERVISOR_BLACKBOX_DIR": self.folder, "SUPERVISOR_GENERATION": "7", "INVOCATION_ID": "abcdef0123"}
        box = Blackbox(env, **limits)
        self.addCleanup(box.close)
        return box

    def lines(self, recorder):
        names = sorted(name for name in os.listdir(self.folder) if f"-{recorder}-" in name)
        texts = [pathlib.Path(self.folder, name).read_text(encoding="utf8") for name in names]
        return [json.loads(line) for line in "".join(texts).splitlines()]

    def test_a_flood_of_ticks_never_pushes_orders_out_and_stays_bounded(self):
        box = self.box(segment_bytes=2_000, segments=3)
        box.record("order.sent", {"id": "a"})
        for number in range(500):
            box.record("tick", {"number": number})
        self.assertEqual([event["type"] for event in self.lines("kept")], ["order.sent"])
        ticks = self.lines("events")
        self.assertEqual(ticks[-1]["data"], {"number": 499})
        self.assertLess(len(ticks), 60)
        self.assertEqual([event["seq"] for event in ticks], list(range(ticks[0]["seq"], 502)))
        self.assertIn("000007-abcdef01-kept-0001.ndjson", os.listdir(self.folder))

    def test_threads_share_one_count(self):
        box = self.box()
        threads = [threading.Thread(target=lambda: [box.record("tick") for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(event["seq"] for event in self.lines("events")), list(range(1, 801)))

    def test_data_that_is_too_long_or_no_json_is_left_out(self):
        box = self.box()
        box.record("big", "x" * 100_000)
        loop = []
        loop.append(loop)
        box.record("loop", loop)
        box.record("nan", float("nan"))
        big, looped, nan = self.lines("events")
        self.assertEqual(big["data"], {"omittedCharacters": 100_002})
        self.assertIn("unserializable", looped["data"])
        self.assertIn("unserializable", nan["data"])

    def test_what_cannot_be_written_is_counted_and_said_once_it_can(self):
        self.folder = os.path.join(self.folder, "later")
        with open(self.folder, "w", encoding="ascii"), mock.patch.object(Blackbox, "RETRY_SECONDS", 0):
            box = self.box()
            box.record("lost")
            self.assertEqual(box.dropped, 1)
            os.unlink(self.folder)
            os.mkdir(self.folder)
            box.record("tick")
        said = [(event["type"], event.get("data")) for event in self.lines("events")]
        self.assertEqual(said, [("blackbox.dropped", {"n": 1}), ("tick", None)])

    def test_does_nothing_without_a_folder(self):
        box = Blackbox({})
        box.record("tick")
        with box.operation("nothing"):
            box.loop()
        self.assertFalse(box.active)


class LevelsTest(Scratch):
    def setUp(self):
        super().setUp()
        self.now = 0.0
        self.path = os.path.join(self.folder, "level")

    def levels(self, **more):
        return Levels({"SUPERVISOR_LEVEL_FILE": self.path}, now=lambda: self.now, **more)

    def demand(self, word):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(word)
        os.replace(self.path + ".new", self.path)

    def test_the_supervisors_floor_holds(self):
        seen = []
        levels = self.levels(on_change=lambda old, new, why: seen.append((old, new)))
        self.assertEqual((levels.level, levels.gate("open")), ("normal", 1.0))
        self.demand("minimal\n")
        self.now += 1_000
        self.assertEqual(levels.level, "minimal")
        self.assertRaises(GateRefused, levels.gate, "open")
        self.assertEqual(levels.gate("close"), 1.0)
        self.assertEqual(seen, [("normal", "minimal")])

    def test_a_silent_supervisor_means_degraded(self):
        self.demand("normal")
        levels = self.levels()
        self.now += 30_001
        self.assertEqual((levels.level, levels.gate("open")), ("degraded", 0.5))

    def test_rubbish_demands_what_was_demanded_last(self):
        self.demand("minimal")
        levels = self.levels()
        self.demand("nonsense")
        self.now += 1_000
        self.assertEqual(levels.level, "minimal")

    def kept(self):
        return Levels({"SUPERVISOR_STATE_DIR": self.folder}, now=lambda: self.now)

    def test_a_crash_does_not_end_an_emergency(self):
        self.kept().propose("loss", "emergency", "daily loss", 1)
        self.now += 3_600_000
        again = self.kept()
        self.assertEqual((again.level, again.reason), ("emergency", "daily loss"))
        self.now += 3_600_000
        self.assertRaises(GateRefused, again.gate, "open")
        again.set("normal", "looked at by hand")
        self.assertEqual(self.kept().level, "normal")

    def test_an_emergency_of_its_own_is_told_to_the_supervisor(self):
        path = os.path.join(self.folder, "s")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(server.close)
        server.bind(path)
        server.listen()
        server.settimeout(20)
        levels = Levels({"SUPERVISOR_SOCKET": path}, now=lambda: self.now)
        levels.propose("loss", "emergency", "lost 5 %", 1)
        link, _ = server.accept()
        with link:
            link.settimeout(20)
            heard = b""
            while not heard.endswith(b"}"):
                heard += link.recv(4096)
            link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertTrue(heard.startswith(b"POST /v1/events HTTP/1.1\r\n"))
        self.assertIn(b'{"level": "alert", "text": "its own level is emergency: lost 5 %"}', heard)

    def test_an_emergency_of_the_supervisor_is_over_once_its_file_says_so(self):
        environ = {"SUPERVISOR_STATE_DIR": self.folder, "SUPERVISOR_LEVEL_FILE": self.path}
        self.demand("emergency")
        self.assertEqual(Levels(environ, now=lambda: self.now).level, "emergency")
        os.remove(self.path)
        self.assertEqual(Levels(environ, now=lambda: self.now).level, "emergency")
        self.demand("normal")
        self.assertEqual(Levels(environ, now=lambda: self.now).level, "normal")

    def test_a_kept_level_that_cannot_be_read_opens_nothing(self):
        with open(os.path.join(self.folder, "level.json"), "w", encoding="utf8") as file:
            file.write('{"level":"emer')
        levels = self.kept()
        self.assertEqual(levels.level, "minimal")
        self.assertIn("cannot read the level", levels.reason)

    def test_a_hook_that_fails_changes_nothing(self):
        levels = self.levels(on_change=lambda *_: fail(RuntimeError("hook")))
        levels.propose("me", "degraded", "slow", 10_000)
        self.assertEqual(levels.level, "degraded")


class ClosesTest(Scratch):
    def test_what_the_supervisor_has_closed_is_known(self):
        path = os.path.join(self.folder, "closes.json")
        self.assertEqual(closes_by_supervisor({"SUPERVISOR_CLOSES": path}), [])
        with open(path, "w", encoding="utf8") as file:
            json.dump({"version": 1, "closes": [{"incident": "i1"}]}, file)
        self.assertEqual(closes_by_supervisor({"SUPERVISOR_CLOSES": path}), [{"incident": "i1"}])
        self.assertEqual(closes_by_supervisor({}), [])


class BreakerTest(unittest.TestCase):
    def test_opens_and_rejects_without_calling(self):
        seen = []
        breaker = Breaker("market", failure_threshold=2, on_change=lambda old, new, why: seen.append((old, new)))
        for _ in range(2):
            self.assertRaises(NetworkError, breaker.call, fail, NetworkError("gone"))
        with self.assertRaises(CircuitOpenError) as caught:
            breaker.call(lambda: self.fail("it was called"))
        self.assertIn("cannot call market: its breaker is open", str(caught.exception))
        self.assertEqual(seen, [("closed", "open")])
        self.assertEqual(breaker.stats()["rejected"], 1)

    def test_guards_functions_and_coroutines(self):
        breaker = Breaker("market")

        @breaker.guard
        def double(number):
            return 2 * number

        @breaker.guard
        async def later(number):
            await asyncio.sleep(0)
            return 3 * number

        self.assertEqual((double(2), asyncio.run(later(2)), double.__name__), (4, 6, "double"))

    def test_a_cancelled_call_says_nothing_against_the_service(self):
        breaker = Breaker("market", failure_threshold=1)

        async def cancelled():
            task = asyncio.ensure_future(breaker.acall(asyncio.sleep, 60))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cancelled())
        self.assertEqual((breaker.state, breaker.stats()["ignored"]), ("closed", 1))

    def test_a_rate_limit_opens_it_for_as_long_as_the_service_asks(self):
        breaker = Breaker("market", now=lambda: 0.0)
        self.assertRaises(RateLimitExceeded, breaker.call, fail, RateLimitExceeded("slow down"))
        self.assertEqual((breaker.state, breaker.stats()["retry_after_ms"]), ("open", 7_000))

    def test_a_restart_does_not_close_it(self):
        breaker = Breaker("market")
        breaker.trip(60_000)
        self.assertEqual(Breaker("market", saved=breaker.save()).state, "open")

    def test_a_config_with_mistakes_is_refused_with_all_of_them(self):
        with self.assertRaises(ValueError) as caught:
            Breaker("market", failure_rate=50, windowsize=1)
        self.assertIn("windowsize is no setting", str(caught.exception))
        self.assertRaises(ValueError, Breaker, "market", failure_rate=50)


class RetrierTest(unittest.TestCase):
    def retrier(self, **more):
        return Retrier(Breaker("venue", failure_threshold=100), base_ms=0.001, **more)

    def test_reads_are_made_again(self):
        answers = [NetworkError("one"), NetworkError("two"), "done"]
        made = []

        def call():
            made.append(1)
            answer = answers[len(made) - 1]
            return fail(answer) if isinstance(answer, Exception) else answer

        self.assertEqual((self.retrier().call(call), len(made)), ("done", 3))

    def test_an_order_whose_fate_is_unknown_is_never_sent_again(self):
        made = []

        def call():
            made.append(1)
            raise NetworkError("timed out")

        self.assertRaises(NetworkError, self.retrier().call, call, "order", "open")
        self.assertEqual(len(made), 1)

    def test_nothing_is_called_after_the_stop(self):
        stop, made = threading.Event(), []

        def call():
            made.append(1)
            stop.set()
            raise NetworkError("gone")

        budget = RetryBudget(0)
        self.assertRaises(NetworkError, self.retrier(stop=stop, budget=budget).call, call)
        self.assertEqual(len(made), 1)

    def test_a_retry_that_the_stop_ends_gives_its_place_back(self):
        class StopsWhileItWaits(threading.Event):
            def wait(self, timeout=None):
                self.set()
                return True

        budget = RetryBudget(0)
        retrier = self.retrier(stop=StopsWhileItWaits(), budget=budget)
        self.assertRaises(NetworkError, retrier.call, lambda: fail(NetworkError("gone")))
        self.assertEqual(budget.left(0), (10.0, 70))

    def test_an_empty_budget_ends_the_retries(self):
        budget, made = RetryBudget(0, per_hour=31, cap=1), []

        def call():
            made.append(1)
            raise NetworkError("gone")

        self.assertRaises(NetworkError, self.retrier(budget=budget).call, call)
        self.assertEqual(len(made), 2)

    def test_the_gate_is_asked_again_before_each_retry(self):
        levels = Levels({})

        def call():
            levels.propose("test", "minimal", "trouble", 60_000)
            raise NetworkError("gone")

        self.assertRaises(GateRefused, self.retrier(levels=levels).call, call, "idempotent", "open")


class ErrorsTest(unittest.TestCase):
    def test_pythons_own_errors_are_told_apart(self):
        self.assertEqual(judge_error(ConnectionResetError()), (True, "failure", "maybe"))
        self.assertEqual(judge_error(TimeoutError()), (True, "failure", "maybe"))
        self.assertEqual(judge_error(KeyError("price")), (False, "ignore", "maybe"))
        self.assertEqual(judge_error(KeyboardInterrupt()), (False, "abandon", "maybe"))

    def test_a_ban_says_until_when(self):
        self.assertEqual(retry_after_of(BaseError("IP banned until 1700000060000."), 1_700_000_000_000), 60_000)


if __name__ == "__main__":
    unittest.main()
