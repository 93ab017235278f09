"""What a bot in Python says to its supervisor and asks of itself: one file, Python 3.9 or later, nothing but its library.

Copy it beside the bot. Nothing in it ever stops the bot: without a supervisor, with one that hangs, or on a full disk
everything goes on, and what could not be said or written is counted or dropped. The rules of breaker, budget, retry and
level are those of clients/vectors, which `test_vectors.py` plays against this file.

    from supervisor_client import Blackbox, Breaker, Levels, Notifier, Retrier

    notify, box = Notifier(), Blackbox()
    levels = Levels(blackbox=box)
    orders = Retrier(Breaker("venue.order", blackbox=box), levels=levels)

Times are milliseconds unless a name says otherwise; `now` is monotonic, `wall` is unix time.
"""

from __future__ import annotations

import email.utils
import fcntl
import functools
import inspect
import json
import math
import os
import random
import re
import socket
import struct
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional, Tuple

__all__ = [
    "Blackbox",
    "Breaker",
    "Circuit",
    "CircuitOpenError",
    "Degradation",
    "GateRefused",
    "Levels",
    "Notifier",
    "Retrier",
    "RetryBudget",
    "closes_by_supervisor",
    "judge_error",
    "parse_retry_after",
    "retry_delay",
]

Saved = Dict[str, Any]


def _monotonic() -> float:
    return time.monotonic() * 1_000


def _wall() -> float:
    return time.time() * 1_000


def _round(value: float) -> int:
    """Half up, as JavaScript does and the vectors expect; Python's own rounds half to even."""
    return math.floor(value + 0.5)


def _clamp(value: Any, least: float, most: float) -> float:
    """What is no number counts as the least: a damaged record must not hold for ever."""
    return min(value, most) if isinstance(value, (int, float)) and value > least else least


# --- Notify protocol ---------------------------------------------------------------------------------------------------


class Notifier:
    """systemd's notify protocol (sd_notify(3)) on $NOTIFY_SOCKET. Never blocks, never raises."""

    MAX_MESSAGE_BYTES = 4_096

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: Optional[socket.socket] = None
        if self._address:
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                # A supervisor that does not read must not stop the bot.
                self._socket.setblocking(False)
            except OSError:
                self._socket = None

    def send(self, **fields: Any) -> bool:
        """Says the fields, for example `WATCHDOG=1`; False when they were dropped. Sent by path each time, so that the next supervisor hears it."""
        if self._socket is None:
            return False
        # A line break inside a value would start another assignment.
        lines = (name + "=" + re.sub(r"[\r\n]+", " ", str(value)) for name, value in fields.items())
        message = "\n".join(lines).encode()
        if len(message) > self.MAX_MESSAGE_BYTES:
            return False
        try:
            self._socket.sendto(message, self._address)
        except (OSError, ValueError):
            return False
        return True

    def ready(self) -> bool:
        return self.send(READY=1)

    def beat(
        self,
        progress: Any = None,
        status: Optional[str] = None,
        in_flight: Optional[int] = None,
        exposure: Optional[float] = None,
    ) -> bool:
        """A heartbeat. To be sent from the loop that does the work, after the work; `progress` is any value that changes only when it was done."""
        given = {"X_PROGRESS": progress, "STATUS": status, "X_IN_FLIGHT": in_flight, "X_EXPOSURE": exposure}
        return self.send(WATCHDOG=1, **{name: value for name, value in given.items() if value is not None})

    def stopping(self) -> bool:
        return self.send(STOPPING=1)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def no_new_orders(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the supervisor is about to stop the bot: ask before each order that adds exposure."""
    path = environ.get("SUPERVISOR_NO_NEW_ORDERS", "")
    return path != "" and os.path.exists(path)


def closes_by_supervisor(environ: Mapping[str, str] = os.environ) -> List[Dict[str, Any]]:
    """Closes of the account by the supervisor, oldest first, each with incident, startedAt, endedAt, outcome and the positions
    (symbol as in ccxt, side, amount) that it took away. A position that is gone and not in there somebody else has closed."""
    try:
        with open(environ.get("SUPERVISOR_CLOSES", ""), encoding="utf8") as file:
            told = json.load(file)
        return list(told["closes"]) if told["version"] == 1 else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


# --- Black box ---------------------------------------------------------------------------------------------------------

_KEPT_TYPES = frozenset(["order", "fill", "position", "state", "level", "breaker", "budget"])


class Blackbox:
    """Events as NDJSON in $SUPERVISOR_BLACKBOX_DIR, one O_APPEND write each: a SIGKILL after `record` loses nothing.

    Two recorders of `segments` files of `segment_bytes` each, of which the oldest goes first: `kept` for orders, transitions and
    errors, `events` for the rest. Safe to use from several threads. A child made by fork must open one of its own. Nothing is
    forced to the disk: a power cut may lose the last half minute.
    """

    MAX_LINE_BYTES = 65_536
    RETRY_SECONDS = 1.0

    def __init__(
        self, environ: Mapping[str, str] = os.environ, segment_bytes: int = 4 * 1_048_576, segments: int = 8
    ) -> None:
        self._folder = environ.get("SUPERVISOR_BLACKBOX_DIR", "")
        generation = environ.get("SUPERVISOR_GENERATION", "0")
        start = environ.get("INVOCATION_ID", str(os.getpid()))[:8]
        self._boot = f"{generation.zfill(6)}-{start}"
        self._limits = (segment_bytes, max(2, segments))
        self._lock = threading.RLock()
        self._seq = 0
        self._tracks = {name: _Track(self._folder, self._boot, name, *self._limits) for name in ("events", "kept")}
        self._closed = self._folder == ""
        self._page: Optional[_Page] = None
        if not self._closed:
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
            except OSError:
                pass  # Each write then fails and is counted.
            self._page = _Page(os.path.join(self._folder, f"{self._boot}-page.bin"))

    @property
    def active(self) -> bool:
        return not self._closed

    @property
    def dropped(self) -> int:
        """Events that could not be written, since the start."""
        return sum(track.dropped for track in self._tracks.values())

    def record(
        self,
        type: str,
        data: Any = None,
        sev: str = "info",
        comp: Optional[str] = None,
        msg: Optional[str] = None,
        recorder: Optional[str] = None,
    ) -> None:
        """Records one event, for example `record("order.sent", {"id": "sv-3f9a"})`. `sev` is debug, info, warn or error."""
        with self._lock:
            if self._closed:
                return
            self._seq += 1
            event = {"v": 1, "seq": self._seq, "ts": int(_wall()), "mono": int(_monotonic() * 1_000)}
            event.update({"boot": self._boot, "type": type, "sev": sev})
            if comp is not None:
                event["comp"] = comp
            if msg is not None:
                event["msg"] = msg[:1_000]
            track = self._tracks[recorder or _recorder_of(type, sev)]
            track.write(_line(event, data, self.MAX_LINE_BYTES))
            if sev == "error":
                self.set_error(msg or type)

    @contextmanager
    def operation(self, name: str, detail: Optional[str] = None) -> Iterator[None]:
        """Shows on the instrument page what the bot is doing, so that a hung one can be asked: `with box.operation("place_order", id):`"""
        page = self._page
        if page is None:
            yield
            return
        op = page.begin(name, detail)
        try:
            yield
        finally:
            page.end(op)

    def loop(self) -> None:
        """Notes one more turn of the bot's loop on the instrument page."""
        if self._page is not None:
            self._page.loop()

    def set_level(self, level: str) -> None:
        if self._page is not None:
            self._page.show(level=level)

    def set_error(self, text: str) -> None:
        if self._page is not None:
            self._page.show(error=text)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for track in self._tracks.values():
                track.close()
            if self._page is not None:
                self._page.close()
                self._page = None


def _recorder_of(type: str, sev: str) -> str:
    return "kept" if sev in ("warn", "error") or type.split(".", 1)[0] in _KEPT_TYPES else "events"


def _line(event: Dict[str, Any], data: Any, most: int) -> bytes:
    if data is not None:
        try:
            more = json.dumps(data, separators=(",", ":"), default=str, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            more = json.dumps({"unserializable": str(error)})
        head = json.dumps(event, separators=(",", ":"))
        line = f'{head[:-1]},"data":{more}}}\n'.encode()
        if len(line) <= most:
            return line
        event = {**event, "data": {"omittedCharacters": len(more)}}
    return (json.dumps(event, separators=(",", ":")) + "\n").encode()


class _Track:
    """The segments of one recorder."""

    def __init__(self, folder: str, boot: str, recorder: str, segment_bytes: int, segments: int) -> None:
        self._folder, self._boot, self._recorder = folder, boot, recorder
        self._segment_bytes, self._segments = segment_bytes, segments
        self._fd: Optional[int] = None
        self._bytes = 0
        self._index = 0
        self._retry_at = 0.0
        self._unsaid = 0
        self.dropped = 0

    def write(self, line: bytes) -> None:
        try:
            if self._fd is None or self._bytes >= self._segment_bytes:
                self._next()
            if self._unsaid > 0:
                said = {"v": 1, "ts": int(_wall()), "boot": self._boot, "type": "blackbox.dropped", "sev": "warn"}
                self._append(_line(said, {"n": self._unsaid}, 4_096))
                self._unsaid = 0
            self._append(line)
        except OSError:
            self.dropped += 1
            self._unsaid += 1

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, line: bytes) -> None:
        if self._fd is None:
            raise OSError("no segment is open")
        written = os.write(self._fd, line)
        self._bytes += written
        if written != len(line):
            # A disk that is full in the middle of a line: the next begins in a segment of its own, and the reader skips the torn one.
            self._bytes = self._segment_bytes
            raise OSError("the disk took a part of the line")

    def _next(self) -> None:
        if time.monotonic() < self._retry_at:
            raise OSError("a write has just failed")
        self._retry_at = time.monotonic() + Blackbox.RETRY_SECONDS
        self.close()
        ending = re.compile(f"-{self._recorder}-\\d{{4,}}\\.ndjson$")
        present = sorted(name for name in os.listdir(self._folder) if ending.search(name))
        for old in present[: max(0, len(present) - self._segments + 1)]:
            os.unlink(os.path.join(self._folder, old))
        self._index += 1
        name = f"{self._boot}-{self._recorder}-{self._index:04d}.ndjson"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(os.path.join(self._folder, name), flags, 0o600)
        self._bytes = 0
        self._retry_at = 0.0


class _Page:
    """The instrument page: 4 KiB, written with one call per change. Offsets: sequence 8, loops 12, time of the last 16, length 24, JSON 32."""

    BYTES = 4_096
    MAX_OPS = 16
    MAX_CHARS = 100

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._ops: List[Dict[str, Any]] = []
        self._level: Optional[str] = None
        self._error: Optional[str] = None
        self._loops = 0
        self._seq = 0
        self._loop_at = 0.0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            self._fd = os.open(path, flags, 0o600)
        except OSError:
            self._fd = -1
        self.show()

    def begin(self, name: str, detail: Optional[str]) -> Dict[str, Any]:
        op: Dict[str, Any] = {"name": name[: self.MAX_CHARS], "since": int(_wall())}
        if detail is not None:
            op["detail"] = detail[: self.MAX_CHARS]
        with self._lock:
            self._ops.append(op)
            self._write()
        return op

    def end(self, op: Dict[str, Any]) -> None:
        with self._lock:
            # By identity: two operations may look the same.
            self._ops = [each for each in self._ops if each is not op]
            self._write()

    def loop(self) -> None:
        with self._lock:
            self._loops = (self._loops + 1) & 0xFFFFFFFF
            self._loop_at = _wall()
            self._write()

    def show(self, level: Optional[str] = None, error: Optional[str] = None) -> None:
        with self._lock:
            self._level = level or self._level
            self._error = error[: self.MAX_CHARS] if error else self._error
            self._write()

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        if self._fd < 0:
            return
        said = {"ops": self._ops[-self.MAX_OPS :], "level": self._level, "lastError": self._error}
        text = json.dumps({key: value for key, value in said.items() if value is not None}).encode()
        if len(text) > self.BYTES - 32:
            return
        self._seq = (self._seq + 2) & 0xFFFFFFFF
        head = struct.pack("<8sIIdI4x", b"SVBBPG1\n", self._seq, self._loops, self._loop_at, len(text))
        try:
            os.pwrite(self._fd, (head + text).ljust(self.BYTES, b"\0"), 0)
        except OSError:
            pass  # The page is a help for the reader, never a reason to fail.


# --- Degradation level -------------------------------------------------------------------------------------------------

LEVELS = ("normal", "degraded", "minimal", "emergency")
_CLEAR_MS = {"degraded": 60_000, "minimal": 120_000, "emergency": 300_000}
_JITTER = 0.1
_MAX_RISES, _RISE_WINDOW_MS, _HOLD_MS = 3, 600_000, 900_000
_MAX_TTL_MS = 86_400_000
_MAX_SOURCES = 64


class GateRefused(Exception):
    """An order that would add exposure is not allowed at this level. Nothing was sent."""


def _demand(level: str, reason: str, source: str) -> Dict[str, Any]:
    own = source != "supervisor"
    return {"level": level, "reason": reason, "source": source, "latched": own and level == "emergency"}


class Degradation:
    """The rules of docs/levels.md without a clock: the worst proposal holds, up at once, down one step at a time."""

    def __init__(self, floor: str = "normal", now: float = 0) -> None:
        self.level, self.reason, self.source, self.latched = "normal", "", "", False
        self.floor = floor
        self.hold_until = 0.0
        self._proposals: Dict[str, Tuple[str, str, float]] = {}
        self._rises: List[float] = []
        self._down_at: Optional[float] = None
        self.settle(now, 0)

    def propose(self, source: str, level: str, reason: str, ttl: float, now: float) -> None:
        """`normal` withdraws what the source had proposed. A time to live that is none counts as the longest."""
        self._proposals.pop(source, None)
        self._proposals = {key: held for key, held in self._proposals.items() if held[2] > now}
        if level == "normal":
            return
        finite = isinstance(ttl, (int, float)) and math.isfinite(ttl)
        until = now + (min(max(ttl, 0), _MAX_TTL_MS) if finite else _MAX_TTL_MS)
        self._proposals[source] = (level, reason, until)
        if len(self._proposals) > _MAX_SOURCES:
            self._proposals.pop(min(self._proposals, key=lambda key: LEVELS.index(self._proposals[key][0])))

    def set(self, level: str, reason: str) -> None:
        """Ends a latch, a hold and every proposal; what is still true is proposed again. Never below the supervisor's floor."""
        self._proposals, self._rises, self.hold_until, self._down_at = {}, [], 0.0, None
        if LEVELS.index(level) >= LEVELS.index(self.floor):
            self._become({"level": level, "reason": reason, "source": "set", "latched": level == "emergency"})
        else:
            self._become(self._by_floor())

    def settle(self, now: float, roll: float) -> None:
        """To be called after each change and about once a second. `roll` is in [0, 1)."""
        self._proposals = {key: held for key, held in self._proposals.items() if held[2] > now}
        demand = self._worst()
        above = LEVELS.index(demand["level"]) - LEVELS.index(self.level)
        if above > 0:
            self._rises = [*(at for at in self._rises if at > now - _RISE_WINDOW_MS), now][-_MAX_RISES:]
            if len(self._rises) == _MAX_RISES:
                self.hold_until = max(self.hold_until, now + _HOLD_MS)
            self._become(demand)
            self._down_at = None
        elif above == 0:
            self.latched = self.latched or demand["latched"]
            self._down_at = None
        else:
            self._clear(now, roll, demand)

    def gate(self, action: str) -> Tuple[bool, float]:
        """Whether `action` (open, increase, reduce, close, cancel, read) is allowed, and what its size is to be multiplied by."""
        if action not in ("open", "increase") or self.level == "normal":
            return True, 1.0
        return (True, 0.5) if self.level == "degraded" else (False, 0.0)

    def save(self, now: float, wall: float) -> Saved:
        """What a restart must know: without it a latched emergency would end by a crash."""
        hold_until = 0 if self.hold_until <= now else _round(self.hold_until - now + wall)
        return {"level": self.level, "reason": self.reason, "source": self.source, "latched": self.latched, "holdUntil": hold_until}

    def restore(self, saved: Mapping[str, Any], now: float, wall: float) -> None:
        """Raises ValueError for what `save` has not made."""
        level, hold = saved["level"], saved["holdUntil"]
        if level not in LEVELS or not isinstance(hold, (int, float)):
            raise ValueError(f"no saved level: {saved!r}")
        self._become({**saved, "latched": saved["latched"] is True})
        # Never longer than a hold lasts: the wall clock may have been set back.
        self.hold_until = min(hold - wall + now, now + _HOLD_MS) if hold > wall else 0.0
        self.settle(now, 0)

    def _clear(self, now: float, roll: float, demand: Dict[str, Any]) -> None:
        if self.level == "normal" or self.latched:
            self._down_at = None
            return
        if self._down_at is None:
            self._down_at = now + _CLEAR_MS[self.level] * (1 + _JITTER * min(max(roll, 0), 1))
        if now < max(self._down_at, self.hold_until):
            return
        below = LEVELS[LEVELS.index(self.level) - 1]
        if below == demand["level"]:
            self._become(demand)
        else:
            self._become({"level": below, "reason": self.reason, "source": self.source, "latched": False})
        if below == "normal":
            self.reason, self.source = "", ""
        self._down_at = None

    def _worst(self) -> Dict[str, Any]:
        worst = self._by_floor()
        for source, (level, reason, _) in self._proposals.items():
            rank, most = LEVELS.index(level), LEVELS.index(worst["level"])
            # The bot's own demand before a floor of the same level: it says more.
            if rank > most or (rank == most and worst["source"] == "supervisor"):
                worst = _demand(level, reason, source)
        return worst

    def _by_floor(self) -> Dict[str, Any]:
        return _demand(self.floor, f"the supervisor demands {self.floor}", "supervisor")

    def _become(self, what: Mapping[str, Any]) -> None:
        self.level, self.reason = what["level"], what["reason"]
        self.source, self.latched = what["source"], what["latched"]


class FloorFile:
    """$SUPERVISOR_LEVEL_FILE: no file is no demand, an unreadable one demands what it last did, one that nobody touches `degraded`."""

    SILENT_MS = 30_000

    def __init__(self, path: Optional[str]) -> None:
        self._path = path or None
        self._last = "normal"
        self._touched_at: Optional[float] = None
        self._mark: Optional[Tuple[int, int]] = None
        self.known = False  # Whether the last reading has found a level.

    def read(self, now: float) -> str:
        if self._path is None:
            return "normal"
        try:
            # Changes of its time are looked at, not its age: a step of the wall clock makes no supervisor silent.
            stat = os.stat(self._path)
            mark = (stat.st_ino, stat.st_mtime_ns)
            if mark != self._mark:
                self._mark, self._touched_at = mark, now
                with open(self._path, "rb") as file:
                    word = file.read(65).decode("ascii", "replace").strip()
                self._last, self.known = (word, True) if word in LEVELS else (self._last, False)
        except FileNotFoundError:
            self._mark, self._touched_at, self._last, self.known = None, None, "normal", False
            return "normal"
        except OSError:
            self.known = False
            self._touched_at = now if self._touched_at is None else self._touched_at
        silent = now - (now if self._touched_at is None else self._touched_at) > self.SILENT_MS
        return max(self._last, "degraded", key=LEVELS.index) if silent else self._last


def _alert(path: str, text: str) -> None:
    """An event that the supervisor passes on to people, and does nothing else for; sent beside the bot, and dropped after two seconds."""
    body = json.dumps({"level": "alert", "text": text[:1_000]}).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: supervisor\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    def send() -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(2)
                link.connect(path)
                link.sendall(head.encode() + body)
                link.recv(1_024)
        except OSError:
            pass

    threading.Thread(target=send, daemon=True).start()


def _hold(path: str) -> Optional[int]:
    """Keeps `supervisor state level` from changing what this process would write over. It holds the lock for a moment at most."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(20):
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                time.sleep(0.1)
        return lock
    except OSError:
        return None


class Levels:
    """The bot's level: its own proposals and the supervisor's floor, read anew at most once a second whenever it is asked. It is
    kept in `level.json` of the bot's state folder, where there is one: a restart begins at what was kept, or at the floor if that is worse."""

    LOOK_MS = 1_000

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        blackbox: Optional[Blackbox] = None,
        on_change: Optional[Callable[[str, str, str], None]] = None,
        now: Callable[[], float] = _monotonic,
    ) -> None:
        self._now, self._blackbox, self._on_change = now, blackbox, on_change
        self._lock = threading.RLock()
        self._file = FloorFile(environ.get("SUPERVISOR_LEVEL_FILE"))
        self._looked_at = -math.inf
        self._state = Degradation(self._file.read(now()), now())
        folder = environ.get("SUPERVISOR_STATE_DIR")
        self._kept = os.path.join(folder, "level.json") if folder else None
        self._told, self._latched = "normal", False
        self._socket = environ.get("SUPERVISOR_SOCKET", "")
        self._lock_file = None if folder is None else _hold(os.path.join(folder, "level.lock"))
        self._restore()
        self._tell()

    @property
    def level(self) -> str:
        return self._fresh().level

    @property
    def reason(self) -> str:
        return self._fresh().reason

    def propose(self, source: str, level: str, reason: str, ttl_ms: float) -> None:
        with self._lock:
            self._state.propose(source, level, reason, ttl_ms, self._now())
            self._settle()

    def set(self, level: str, reason: str) -> None:
        """By hand, also out of an emergency; the supervisor's floor still holds."""
        with self._lock:
            self._state.set(level, reason)
            self._settle()

    def gate(self, action: str) -> float:
        """What the size of the order is to be multiplied by; raises GateRefused where it may not be placed. Getting out is never refused."""
        state = self._fresh()
        allowed, factor = state.gate(action)
        if not allowed:
            raise GateRefused(f"cannot {action}: the level is {state.level}: {state.reason}")
        return factor

    def _fresh(self) -> Degradation:
        with self._lock:
            now = self._now()
            if now - self._looked_at >= self.LOOK_MS:
                self._looked_at = now
                self._state.floor = self._file.read(now)
                self._settle()
            return self._state

    def _settle(self) -> None:
        self._state.settle(self._now(), random.random())
        self._tell()

    def _restore(self) -> None:
        try:
            if self._kept is None or not os.path.exists(self._kept):
                return
            with open(self._kept, encoding="utf8") as file:
                saved = json.load(file)
            # An emergency of the supervisor's alone has been ended by a person, or no bot would start; its file says what it demands now.
            its = saved["source"] == "supervisor" and saved["level"] == "emergency" and saved["latched"] is not True
            if not (its and self._file.known):
                self._state.restore(saved, self._now(), _wall())
        except (OSError, ValueError, KeyError, TypeError) as error:
            # It may have been an emergency: nothing is opened until the bot has run well for a while, or somebody says otherwise.
            self._state.set("minimal", f"cannot read the level that was kept: {error}")
            self._state.settle(self._now(), 0)

    def _keep(self) -> None:
        if self._kept is None:
            return
        try:
            with open(self._kept + ".new", "w", encoding="utf8") as file:
                json.dump(self._state.save(self._now(), _wall()), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._kept + ".new", self._kept)
        except OSError as error:
            if self._blackbox is not None:
                self._blackbox.set_error(f"cannot keep the level: {error}")

    def _tell(self) -> None:
        level, reason, source = self._state.level, self._state.reason, self._state.source
        before, self._told = self._told, level
        latched, self._latched = self._latched, self._state.latched
        if level == before and latched == self._latched:
            return
        self._keep()
        if level == before:
            return
        if level == "emergency" and source != "supervisor" and self._socket:
            _alert(self._socket, f"its own level is emergency: {reason}")
        if self._blackbox is not None:
            risen = LEVELS.index(level) > LEVELS.index(before)
            change = {"from": before, "to": level, "source": source, "reason": reason}
            self._blackbox.set_level(level)
            self._blackbox.record("level", change, sev="warn" if risen else "info")
        if self._on_change is not None:
            try:
                self._on_change(before, level, reason)
            except Exception as error:  # A hook of the bot must not undo the change.
                if self._blackbox is not None:
                    self._blackbox.set_error(f"on_change of the level: {error}")


# --- Errors ------------------------------------------------------------------------------------------------------------


class CircuitOpenError(Exception):
    """The breaker did not let the call through: nothing was sent."""

    def __init__(self, breaker: str, state: str, retry_after_ms: Optional[float], reason: Optional[str]) -> None:
        wait = f", for {math.ceil(retry_after_ms)} ms more" if retry_after_ms else ""
        why = f" ({reason})" if reason else ""
        super().__init__(f"cannot call {breaker}: its breaker is {state}{wait}{why}")
        self.breaker, self.state, self.retry_after_ms, self.reason = breaker, state, retry_after_ms, reason


class Verdict(tuple):
    """(retry, breaker, executed): whether the same call may help later; failure, ignore, trip or abandon; `no` only where the venue certainly did not do it."""

    retry = property(lambda self: self[0])
    breaker = property(lambda self: self[1])
    executed = property(lambda self: self[2])


_REFUSED = Verdict((False, "ignore", "no"))
_THROTTLED = Verdict((True, "trip", "no"))
_LATE_CLOCK = Verdict((True, "ignore", "no"))
_LOST = Verdict((True, "failure", "maybe"))
_GIVEN_UP = Verdict((False, "abandon", "maybe"))
_MISTAKE = Verdict((False, "ignore", "maybe"))
_NOT_LET_THROUGH = Verdict((False, "abandon", "no"))
#: Mistakes of the program: the same call would fail the same way. Not ValueError: a reply that is no JSON is one.
_MISTAKES = ("TypeError", "ReferenceError", "NameError", "AttributeError", "LookupError", "ArithmeticError", "AssertionError")
_GIVE_UPS = ("AbortError", "CancelledError", "KeyboardInterrupt", "SystemExit", "GeneratorExit")
_REFUSED_KEY = re.compile(r'"code":\s*-2015\b|-2015\b')
_TIMESTAMP = re.compile(r'"code":\s*"?(-1021|-4188|-5028)\b')
_CODE = re.compile(r'"?(?:code|sCode|retCode)"?\s*:\s*"?(-?\d+)')
#: OKX's codes that ccxt has no class for, or one that says something else.
_BY_CODE = {
    **dict.fromkeys(["50030", "50035", "50119", "50120", "50121"], _REFUSED),
    "50036": _LATE_CLOCK,
    **dict.fromkeys(["50040", "50061"], _THROTTLED),
    **dict.fromkeys(["51054", "51149"], _LOST),
}


def judge_error(error: BaseException) -> Verdict:
    """What an error means, by the names of its classes as ccxt has them in every language."""
    chain = [each.__name__ for each in type(error).__mro__]
    has_cause = error.__cause__ is not None or isinstance(error, OSError)
    return judge_facts(type(error).__name__, chain, str(error), has_cause)


def judge_facts(name: str, chain: List[str], message: str, has_cause: bool) -> Verdict:
    def is_a(*names: str) -> bool:
        return any(each == name or each in chain for each in names)

    if is_a("CircuitOpenError", "GateRefused"):
        return _NOT_LET_THROUGH
    if is_a(*_GIVE_UPS):
        return _GIVEN_UP
    if is_a("DuplicateOrderId"):
        # The venue knows the id: our own order, of which the reply was lost.
        return _MISTAKE
    if "BaseError" in chain or name == "BaseError":
        return _judge_venue(is_a, message)
    mistake = is_a(*_MISTAKES) and not has_cause and not re.search("fetch|network", message, re.IGNORECASE)
    return _MISTAKE if mistake else _LOST


def _judge_venue(is_a: Callable[..., bool], message: str) -> Verdict:
    inner = message.find('"sCode"')
    code = _CODE.search(message if inner < 0 else message[inner:])
    known = _BY_CODE.get(code.group(1)) if code else None
    if known is not None:
        return known
    if is_a("RateLimitExceeded", "DDoSProtection"):
        return _REFUSED if _REFUSED_KEY.search(message) else _THROTTLED
    if is_a("InvalidNonce") or _TIMESTAMP.search(message):
        return _LATE_CLOCK
    return _REFUSED if is_a("AuthenticationError", "NotSupported", "ArgumentsRequired", "ExchangeError") else _LOST


_RETRY_AFTER_MAX_MS = 3 * 86_400_000


def parse_retry_after(value: str, wall: float) -> Optional[float]:
    """A header Retry-After as ms from `wall` on: seconds or an HTTP date; None when it is neither."""
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        ms = float(text) * 1_000
    else:
        try:
            parsed = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError):
            return None
        ms = parsed.timestamp() * 1_000 - wall
    return min(max(0.0, ms), _RETRY_AFTER_MAX_MS)


def retry_after_of(error: BaseException, wall: float) -> Optional[float]:
    """How long the service wants us to wait, ms: `retry_after_ms`, `retry_after` or `headers` of the error, or a ban in its message."""
    exact = getattr(error, "retry_after_ms", None)
    if isinstance(exact, (int, float)) and exact >= 0:
        return exact
    said = getattr(error, "retry_after", None)
    headers = getattr(error, "headers", None)
    if said is None and headers is not None and hasattr(headers, "items"):
        said = next((value for key, value in headers.items() if str(key).lower() == "retry-after"), None)
    asked = parse_retry_after(str(said), wall) if said is not None else None
    if asked is not None:
        return asked
    until = re.search(r"banned until (\d{13})\b", str(error))
    return min(max(0.0, int(until.group(1)) - wall), _RETRY_AFTER_MAX_MS) if until else None


# --- Circuit breaker ---------------------------------------------------------------------------------------------------

REJECTED = 0
_TRIP_MAX_MS = 3 * 86_400_000
_INF = math.inf
#: Default, least and most of each setting.
_SETTINGS: Dict[str, Tuple[float, float, float]] = {
    "failure_threshold": (5, 1, _INF),
    "failure_rate": (0.5, 5e-324, _INF),
    "minimum_calls": (10, 1, 10_000),
    "window_size": (100, 1, 10_000),
    "window_max_age_ms": (600_000, 1, _INF),
    "slow_call_ms": (5_000, 1, _INF),
    "open_ms": (60_000, 1, _TRIP_MAX_MS),
    "open_factor": (1, 1, 100),
    "open_max_ms": (300_000, 1, _TRIP_MAX_MS),
    "open_jitter": (0.1, 0, 1),
    "half_open_max_calls": (1, 1, 1_000),
    "success_threshold": (2, 1, 10_000),
    "probe_lease_ms": (60_000, 1, _TRIP_MAX_MS),
}
_WHOLE = ("minimum_calls", "window_size", "half_open_max_calls", "success_threshold")
_TOTALS = ("calls", "successes", "failures", "slow", "ignored", "rejected", "opened")


def breaker_config(**given: float) -> Dict[str, float]:
    """A whole config; raises ValueError with every mistake of the given one."""
    config = {name: default for name, (default, _, _) in _SETTINGS.items()}
    config["open_max_ms"] = max(config["open_max_ms"], min(_TRIP_MAX_MS, given.get("open_ms", 0) * 2))
    config.update(given)
    mistakes = [f"{name} is no setting of a breaker" for name in given if name not in _SETTINGS]
    for name, (_, least, most) in _SETTINGS.items():
        value = config[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            mistakes.append(f"{name} is {value}; use {least} to {most}")
        elif name in _WHOLE and int(value) != value:
            mistakes.append(f"{name} is {value}; use a whole number")
    if not mistakes:
        if 1 < config["failure_rate"] < _INF:
            mistakes.append(f"failure_rate is {config['failure_rate']}; it is a share: use up to 1")
        if config["minimum_calls"] > config["window_size"]:
            mistakes.append("minimum_calls is more than window_size ever holds")
        if config["open_max_ms"] < config["open_ms"]:
            mistakes.append("open_max_ms is less than open_ms")
    if mistakes:
        raise ValueError("cannot make a breaker: " + "; ".join(mistakes))
    return config


class Circuit:
    """The breaker's state machine without a clock; the rules are in clients/vectors/README.md."""

    def __init__(self, config: Mapping[str, float]) -> None:
        self._config = config
        self.state, self.reason = "closed", None  # type: str, Optional[str]
        #: What the next opening takes for its jitter, in [0, 1).
        self.roll = 0.0
        self.attempt = 0
        self.consecutive = 0
        self.totals = dict.fromkeys(_TOTALS, 0)
        self._window: Deque[Tuple[float, bool]] = deque()
        self._open_until = 0.0
        self._proven = 0
        self._probes: Dict[int, float] = {}
        self._last_permit = REJECTED
        self._stale_up_to = REJECTED

    def enter(self, now: float) -> int:
        """A permit for one call that starts now, or REJECTED."""
        if self.state in ("closed", "disabled"):
            self._last_permit += 1
            return self._last_permit
        if self.state == "open" and now >= self._open_until:
            self._to("half-open", self.reason)
            self._proven = 0
        if self.state == "half-open":
            self._end_leases(now)
            if len(self._probes) < self._config["half_open_max_calls"]:
                self._last_permit += 1
                self._probes[self._last_permit] = now + self._config["probe_lease_ms"]
                return self._last_permit
        self.totals["rejected"] += 1
        return REJECTED

    def succeed(self, permit: int, took: float, now: float) -> None:
        if took >= self._config["slow_call_ms"]:
            self.fail(permit, took, now, f"took {_round(took)} ms")
            return
        self.totals["calls"] += 1
        self.totals["successes"] += 1
        if self.state == "closed":
            if permit > self._stale_up_to:
                self.consecutive = 0
                self._add(now, False)
        else:
            self._prove(permit, now)

    def fail(self, permit: int, took: float, now: float, why: str = "failed") -> None:
        self.totals["calls"] += 1
        self.totals["failures"] += 1
        if took >= self._config["slow_call_ms"]:
            self.totals["slow"] += 1
        if self.state == "half-open":
            if self._take_probe(permit, now):
                self._open(now, f"a probe {why}")
            return
        if self.state != "closed" or permit <= self._stale_up_to:
            return
        self.consecutive += 1
        self._add(now, True)
        calls, failures = self.window(now)
        if self.consecutive >= self._config["failure_threshold"]:
            self._open(now, f"{self.consecutive} failures in a row, the last {why}")
        elif calls >= self._config["minimum_calls"] and failures / calls >= self._config["failure_rate"]:
            self._open(now, f"{failures} of {calls} calls failed, the last {why}")

    def ignore(self, permit: int, now: float) -> None:
        """It failed with what says nothing against the service: it has answered."""
        self.totals["calls"] += 1
        self.totals["ignored"] += 1
        if self.state == "half-open":
            self._prove(permit, now)

    def abandon(self, permit: int, now: float) -> None:
        """The caller gave up: that says nothing, and only frees its place."""
        self.totals["calls"] += 1
        self.totals["ignored"] += 1
        if self.state == "half-open":
            self._take_probe(permit, now)

    def trip(self, now: float, retry_after_ms: Optional[float], reason: str) -> None:
        if self.state in ("forced-open", "disabled"):
            return
        wished = None if retry_after_ms is None else now + _clamp(retry_after_ms, 0, _TRIP_MAX_MS)
        if self.state == "open":
            self._open_until = max(self._open_until, now + self._open_ms() if wished is None else wished)
            return
        self._open(now, reason)
        if wished is not None:
            self._open_until = wished

    def reset(self) -> None:
        self._to("closed", None)
        self.attempt = self.consecutive = 0
        self._window.clear()

    def disable(self, reason: str) -> None:
        self._to("disabled", reason)

    def force_open(self, reason: str) -> None:
        self._to("forced-open", reason)

    def retry_after_ms(self, now: float) -> Optional[float]:
        """How long a call would be rejected; None when it depends on a person."""
        if self.state == "forced-open":
            return None
        return max(0.0, self._open_until - now) if self.state == "open" else 0.0

    def window(self, now: float) -> Tuple[int, int]:
        """(calls, failures) that still count."""
        oldest = now - self._config["window_max_age_ms"]
        while self._window and self._window[0][0] <= oldest:
            self._window.popleft()
        return len(self._window), sum(failed for _, failed in self._window)

    def save(self, now: float, wall: float) -> Saved:
        half = self.state == "half-open"
        left = 0.0 if half else (self.retry_after_ms(now) or 0.0)
        state = "open" if half else self.state
        self.window(now)
        return {
            "state": state,
            "openUntil": _round(wall + left) if state == "open" else None,
            "attempt": self.attempt,
            "consecutive": self.consecutive,
            "window": [{"at": _round(at + wall - now), "failed": failed} for at, failed in self._window],
            "totals": dict(self.totals),
            "reason": self.reason,
            "savedAt": _round(wall),
        }

    def restore(self, saved: Saved, now: float, wall: float) -> None:
        """Whatever the wall clock did meanwhile, it is not open for longer than it was to be when it was saved."""
        self._to(saved["state"], saved.get("reason"))
        self.attempt = math.floor(_clamp(saved.get("attempt"), 0, 1_000))
        self.consecutive = math.floor(_clamp(saved.get("consecutive"), 0, 2**53))
        self.totals = {**dict.fromkeys(_TOTALS, 0), **(saved.get("totals") or {})}
        self._window.clear()
        latest = -_INF
        for call in saved.get("window", [])[-int(self._config["window_size"]) :]:
            was_at = min(now, now - wall + call["at"])
            if was_at >= latest:
                latest = was_at
                self._add(was_at, bool(call["failed"]))
        self.window(now)
        open_until = saved.get("openUntil") or 0
        was_left = _clamp(open_until - saved["savedAt"], 0, _TRIP_MAX_MS)
        self._open_until = now + _clamp(open_until - wall, 0, was_left)

    def _add(self, now: float, failed: bool) -> None:
        self.window(now)
        if len(self._window) == self._config["window_size"]:
            self._window.popleft()
        self._window.append((now, failed))

    def _to(self, state: str, reason: Optional[str]) -> None:
        self.state, self.reason = state, reason
        self._stale_up_to = self._last_permit
        self._probes.clear()

    def _open(self, now: float, reason: str) -> None:
        self._to("open", reason)
        self.totals["opened"] += 1
        self.attempt += 1
        self._open_until = now + self._open_ms()

    def _open_ms(self) -> float:
        most = self._config["open_max_ms"]
        try:
            growth = self._config["open_factor"] ** max(0, self.attempt - 1)
        except OverflowError:
            growth = 1e308
        plain = min(self._config["open_ms"] * growth, most)
        return min(_round(plain * (1 + self._config["open_jitter"] * self.roll)), most)

    def _prove(self, permit: int, now: float) -> None:
        if self.state == "half-open" and self._take_probe(permit, now):
            self._proven += 1
            if self._proven >= self._config["success_threshold"]:
                self.reset()

    def _take_probe(self, permit: int, now: float) -> bool:
        self._end_leases(now)
        return self._probes.pop(permit, None) is not None

    def _end_leases(self, now: float) -> None:
        for permit in [permit for permit, until in self._probes.items() if until <= now]:
            del self._probes[permit]


class Breaker:
    """A circuit with a clock, for several threads: `call(fn, ...)`, `await acall(fn, ...)`, or `@breaker.guard`.

    `saved` is what `save()` gave an earlier start; keep it where it outlives the process, so that a crash loop does not hammer
    a service that is down.
    """

    def __init__(
        self,
        name: str,
        blackbox: Optional[Blackbox] = None,
        on_change: Optional[Callable[[str, str, Optional[str]], None]] = None,
        judge: Callable[[BaseException], Verdict] = judge_error,
        saved: Optional[Saved] = None,
        now: Callable[[], float] = _monotonic,
        wall: Callable[[], float] = _wall,
        **config: float,
    ) -> None:
        self.name = name
        self._circuit = Circuit(breaker_config(**config))
        self._blackbox, self._on_change, self._judge, self._now, self._wall = blackbox, on_change, judge, now, wall
        self._lock = threading.RLock()
        self._circuit.roll = random.random()
        if saved is not None:
            self._circuit.restore(saved, now(), wall())

    @property
    def state(self) -> str:
        return self._circuit.state

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        permit, start = self._enter()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._failed(permit, start, error)
            raise
        self._move(lambda now: self._circuit.succeed(permit, now - start, now))
        return result

    async def acall(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        permit, start = self._enter()
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self._failed(permit, start, error)
            raise
        self._move(lambda now: self._circuit.succeed(permit, now - start, now))
        return result

    def guard(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator for plain and async functions."""
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                return await self.acall(fn, *args, **kwargs)

            return guarded_async

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self.call(fn, *args, **kwargs)

        return guarded

    def trip(self, retry_after_ms: Optional[float] = None, reason: str = "tripped") -> None:
        self._move(lambda now: self._circuit.trip(now, retry_after_ms, reason))

    def reset(self) -> None:
        self._move(lambda now: self._circuit.reset())

    def disable(self, reason: str = "disabled") -> None:
        self._move(lambda now: self._circuit.disable(reason))

    def force_open(self, reason: str) -> None:
        self._move(lambda now: self._circuit.force_open(reason))

    def save(self) -> Saved:
        with self._lock:
            return self._circuit.save(self._now(), self._wall())

    def stats(self) -> Dict[str, Any]:
        with self._lock:
            circuit, now = self._circuit, self._now()
            calls, failures = circuit.window(now)
            return {
                "name": self.name,
                "state": circuit.state,
                "reason": circuit.reason,
                "retry_after_ms": circuit.retry_after_ms(now),
                "attempt": circuit.attempt,
                "window_calls": calls,
                "failure_rate": failures / calls if calls else 0.0,
                **circuit.totals,
            }

    def _enter(self) -> Tuple[int, float]:
        entered: List[Tuple[int, float]] = []
        self._move(lambda now: entered.append((self._circuit.enter(now), now)))
        permit, now = entered[0]
        if permit == REJECTED:
            with self._lock:
                circuit = self._circuit
                raise CircuitOpenError(self.name, circuit.state, circuit.retry_after_ms(now), circuit.reason)
        return permit, now

    def _failed(self, permit: int, start: float, error: BaseException) -> None:
        verdict, name = self._judge(error).breaker, type(error).__name__

        def end(now: float) -> None:
            if verdict == "ignore":
                self._circuit.ignore(permit, now)
            elif verdict == "abandon":
                self._circuit.abandon(permit, now)
            else:
                self._circuit.fail(permit, now - start, now, f"with {name}")
                if verdict == "trip":
                    self._circuit.trip(now, retry_after_of(error, self._wall()), "the service asks for fewer calls")

        self._move(end)

    def _move(self, move: Callable[[float], None]) -> None:
        with self._lock:
            before = self._circuit.state
            move(self._now())
            after, reason = self._circuit.state, self._circuit.reason
            if after == before:
                return
            if after == "open":
                self._circuit.roll = random.random()
        change = {"name": self.name, "from": before, "to": after, "reason": reason}
        if self._blackbox is not None:
            self._blackbox.record("breaker", change, sev="warn" if after == "open" else "info")
        if self._on_change is not None:
            try:
                self._on_change(before, after, reason)
            except Exception as error:  # A hook of the bot must not change how the call ends.
                if self._blackbox is not None:
                    self._blackbox.set_error(f"on_change of {self.name}: {error}")


# --- Retry and its budget ----------------------------------------------------------------------------------------------


def retry_delay(base_ms: float, cap_ms: float, retry: int, roll: float, retry_after_ms: Optional[float]) -> int:
    """Delay before retry number `retry` (0 is the first), whole ms: full jitter, never sooner than the service asks."""
    most = min(cap_ms, base_ms * 2.0 ** min(retry, 1_000))
    return max(math.ceil(retry_after_ms or 0), math.floor(roll * most))


class RetryBudget:
    """Retries in a sliding hour, and a share of the first attempts; the last of the hour are kept for urgent ones. For several threads."""

    HOUR_MS = 3_600_000

    def __init__(
        self,
        now: float,
        per_hour: int = 100,
        reserved: int = 30,
        ratio: float = 0.2,
        cap: float = 10,
        trickle_ms: float = 10_000,
    ) -> None:
        self._per_hour, self._reserved, self._ratio, self._cap, self._trickle_ms = per_hour, reserved, ratio, cap, trickle_ms
        self._spent: List[float] = []
        self._tokens = float(cap)
        self._filled_at = now
        self._lock = threading.Lock()

    def deposit(self, now: float) -> None:
        """A first attempt is made."""
        with self._lock:
            self._fill(now)
            self._tokens = min(self._cap, self._tokens + self._ratio)

    def withdraw(self, now: float, priority: str = "normal") -> Tuple[bool, Any]:
        """(True, receipt) or (False, "hour" or "ratio"). `urgent` is to cancel, to close, to place a stop-loss."""
        with self._lock:
            self._fill(now)
            urgent = priority == "urgent"
            if len(self._spent) >= self._per_hour - (0 if urgent else self._reserved):
                return False, "hour"
            has_token = self._tokens >= 1 - 1e-9
            if not has_token and not urgent:
                return False, "ratio"
            tokens = 1 if has_token else 0
            self._tokens = max(0.0, self._tokens - tokens)
            self._spent.append(now)
            return True, (now, tokens)

    def refund(self, receipt: Tuple[float, int], now: float) -> None:
        """Gives back what was granted for a retry that was never sent."""
        with self._lock:
            self._fill(now)
            at, tokens = receipt
            if at in self._spent:
                self._spent.remove(at)
                self._tokens = min(self._cap, self._tokens + tokens)

    def left(self, now: float) -> Tuple[float, int]:
        """(tokens, retries of the hour that are not reserved)."""
        with self._lock:
            self._fill(now)
            return self._tokens, max(0, self._per_hour - self._reserved - len(self._spent))

    def save(self, now: float, wall: float) -> Saved:
        with self._lock:
            self._fill(now)
            spent = [_round(at - now + wall) for at in self._spent]
            return {"tokens": self._tokens, "spent": spent, "savedAt": _round(wall)}

    def restore(self, saved: Saved, now: float, wall: float) -> None:
        """Retries that seem to be from the future count as spent now; a damaged number as no token."""
        with self._lock:
            numbers = [at for at in saved["spent"][-self._per_hour :] if isinstance(at, (int, float)) and at == at]
            self._spent = sorted(now - max(0, wall - at) for at in numbers)
            self._tokens = _clamp(saved.get("tokens"), 0, self._cap)
            away = wall - saved["savedAt"]
            self._filled_at = now - (min(away, self.HOUR_MS) if away > 0 else 0)
            self._fill(now)

    def _fill(self, now: float) -> None:
        since = max(0.0, now - self._filled_at)
        self._tokens = min(self._cap, self._tokens + since / self._trickle_ms)
        self._filled_at = now
        self._spent = [at for at in self._spent if at > now - self.HOUR_MS]


class Retrier:
    """Calls through gate, breaker and budget, and again where that is safe.

    `kind` is `read` or `idempotent` (may be made twice), or `order`: that is made again only after an error that says the venue
    certainly did not take it. After any other error ask the venue for the order's client id before anything is sent again.
    """

    def __init__(
        self,
        breaker: Breaker,
        budget: Optional[RetryBudget] = None,
        levels: Optional[Levels] = None,
        max_retries: int = 3,
        base_ms: float = 1_000,
        cap_ms: float = 30_000,
        stop: Optional[threading.Event] = None,
    ) -> None:
        self.breaker, self.levels = breaker, levels
        self.budget = budget or RetryBudget(_monotonic())
        self._max_retries, self._base_ms, self._cap_ms = max_retries, base_ms, cap_ms
        self._stop = stop or threading.Event()

    def call(
        self, fn: Callable[[], Any], kind: str = "read", action: str = "read", priority: str = "normal"
    ) -> Any:
        """The result of `fn`, or its last error. After `stop` is set nothing is called any more. `action` is what the gate is asked for."""
        if self.levels is not None:
            self.levels.gate(action)
        self.budget.deposit(_monotonic())
        retry = 0
        while True:
            try:
                return self.breaker.call(fn)
            except Exception as error:
                verdict = judge_error(error)
                safe = kind != "order" or verdict.executed == "no"
                if not verdict.retry or not safe or retry >= self._max_retries or self._stop.is_set():
                    raise
                if self.breaker.state == "open":
                    raise
                if not self._wait(retry, retry_after_of(error, _wall()), priority):
                    raise
            retry += 1
            # The level may have risen while this waited.
            if self.levels is not None:
                self.levels.gate(action)

    def _wait(self, retry: int, retry_after_ms: Optional[float], priority: str) -> bool:
        granted, receipt = self.budget.withdraw(_monotonic(), priority)
        if not granted:
            return False
        delay = retry_delay(self._base_ms, self._cap_ms, retry, random.random(), retry_after_ms)
        if self._stop.wait(delay / 1_000):
            self.budget.refund(receipt, _monotonic())
            return False
        return True
