"""Per-destination queues of segments: files of OTLP JSON lines that wait to be sent.

Ring 1 (background). Every function is called under the sender's lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

MAX_AGE_S = 30 * 86_400  # a segment older than this is dropped
MAX_BYTES = 20_000_000  # of one destination's queue; beyond it the oldest segments are dropped
FIRST_PAUSE_S = 60.0  # after a first failure; doubled with each
LAST_PAUSE_S = 6 * 3600.0
QUIET_S = 3600.0  # while the settings are wrong, or name no destination; it ends at once when they change


def write(path: str, text: bytes) -> None:
    """Make *path* hold *text*: whole, and on the disk, or not there."""
    part = path + ".part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
    except OSError:
        if os.path.exists(part):
            os.unlink(part)
        raise


class Queue:
    """The queue of one destination, in ``<spool>/queue/<name>/``.

    Shape: ``wait/<id>.<traces|metrics>.jsonl`` waits; ``flight/`` holds the one segment being sent; ``pause`` is
    ``{"failures": n, "not_before_s": Unix seconds}``, the circuit breaker, where the settings are to blame with
    ``{"settings": their fingerprint, "why": text}`` besides. Ids sort by time.
    A segment in ``flight/`` when no sender lives was cut off: it may or may not have arrived.
    """

    def __init__(self, spool: str, name: str) -> None:
        self.name = name
        self.folder = os.path.join(spool, "queue", name)
        self.wait = os.path.join(self.folder, "wait")
        self.flight = os.path.join(self.folder, "flight")

    def make(self) -> None:
        """Make the folders."""
        for folder in (os.path.dirname(self.folder), self.folder, self.wait, self.flight):
            os.makedirs(folder, 0o700, exist_ok=True)

    def put(self, segment: str, lines: Sequence[bytes]) -> None:
        """Add a segment, e.g. ``17f…-0001.traces.jsonl``."""
        write(os.path.join(self.wait, segment), b"".join(lines))

    def waiting(self) -> list[str]:
        """Return the names of waiting segments, oldest first."""
        return sorted(name for name in entries(self.wait) if name.endswith(".jsonl"))

    def take(self, segment: str) -> str:
        """Move a waiting segment into flight and return its path: from here on it counts as sent to."""
        path = os.path.join(self.flight, segment)
        os.rename(os.path.join(self.wait, segment), path)
        return path

    def done(self, segment: str) -> None:
        """Forget a segment in flight."""
        os.unlink(os.path.join(self.flight, segment))

    def back(self, segment: str, lines: Sequence[bytes] | None = None) -> None:
        """Return a segment to the queue; *lines* replace its content.

        Killed in between, the old one is in flight still: for a destination that can't tell repetitions it is dropped,
        for others sent again.
        """
        if lines is None:
            os.rename(os.path.join(self.flight, segment), os.path.join(self.wait, segment))
            return
        self.put(segment, lines)
        self.done(segment)

    def cut_off(self) -> list[str]:
        """Return the segments that an earlier sender left in flight."""
        return sorted(entries(self.flight))

    def bound(self, now_s: float) -> Iterable[tuple[str, str]]:
        """Yield (path, reason) of segments that must go: too old, or beyond the queue's size."""
        total = 0
        for segment in reversed(self.waiting()):
            path = os.path.join(self.wait, segment)
            status = os.stat(path)
            total += status.st_size
            if now_s - status.st_mtime > MAX_AGE_S:
                yield path, "age"
            elif total > MAX_BYTES:
                yield path, "limit"

    def paused_until_s(self, now_s: float) -> float:
        """Return when sending may be tried again; 0 if now. A pause of more than a day is a clock jump."""
        until = float(self._pause().get("not_before_s", 0.0))
        return until if now_s < until <= now_s + 86_400 else 0.0

    def failures(self) -> int:
        """Return how often sending failed since it last succeeded."""
        return int(self._pause().get("failures", 0))

    def pause(self, now_s: float, retry_after_s: float | None, jitter: float) -> None:
        """Stop sending for a while: as long as the destination says, or twice as long as the last time.

        jitter: 0 to 1, spreads those who failed together.
        """
        failures = self.failures() + 1
        own = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 20), LAST_PAUSE_S) * (0.5 + 0.5 * jitter)
        until = now_s + max(own if retry_after_s is None else retry_after_s, 1.0)
        write(os.path.join(self.folder, "pause"), json.dumps({"failures": failures, "not_before_s": until}).encode())

    def refuse(self, now_s: float, settings: str, why: str) -> None:
        """Stop sending while the settings, of which *settings* is the fingerprint, are what they are."""
        told = {"failures": 1, "not_before_s": now_s + QUIET_S, "settings": settings, "why": why}
        write(os.path.join(self.folder, "pause"), json.dumps(told).encode())

    def refused(self) -> tuple[str, str]:
        """Return (fingerprint, why) of the settings that are to blame for the pause; two empty texts if none are."""
        told = self._pause()
        return str(told.get("settings", "")), str(told.get("why", ""))

    def resume(self) -> None:
        """Forget earlier failures."""
        try:
            os.unlink(os.path.join(self.folder, "pause"))
        except FileNotFoundError:
            pass

    def _pause(self) -> dict[str, Any]:
        try:
            with open(os.path.join(self.folder, "pause"), encoding="ascii") as file:
                told = json.load(file)
            return told if isinstance(told, dict) else {}
        except (OSError, ValueError):
            return {}


def quiet(spool: str, until_s: float, settings: str = "", why: str = "") -> None:
    """Have hosts start no sender before *until_s*; with *why*, only those with the settings of that fingerprint."""
    token = os.path.join(spool, "wake")
    with open(token, "w", encoding="utf-8") as file:
        file.write(f"{settings}\n{why}\n" if why else "")
    os.utime(token, (until_s, until_s))


def quiet_until_s(spool: str, now_s: float) -> tuple[float, str]:
    """Return (until when hosts start no sender, why if the settings are to blame); (0, "") if the next run starts one."""
    token = os.path.join(spool, "wake")
    try:
        until_s = os.stat(token).st_mtime
        with open(token, encoding="utf-8", errors="replace") as file:
            why = file.read().partition("\n")[2].strip()
    except OSError:
        return 0.0, ""
    return (until_s, why) if now_s < until_s <= now_s + 86_400 else (0.0, "")


def entries(folder: str) -> list[str]:
    """Return what is in *folder*; nothing if it is none."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def abandoned(spool: str) -> list[str]:
    """Return the files in ``open/`` whose processes are gone: nobody holds their locks."""
    found = []
    for name in entries(os.path.join(spool, "open")):
        try:
            descriptor = os.open(os.path.join(spool, "open", name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.lockf(descriptor, os.F_TEST, 0)
            found.append(name)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return found


def segment_id(sequence: int) -> str:
    """Return a new segment's id: it sorts by time."""
    return f"{time.time_ns():016x}-{sequence:04x}"
