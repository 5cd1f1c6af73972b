"""A world of one spool and two destinations, in which senders live and die at any step: what the model tests are made of.

The sender is the real one, on real files (in memory, where there is such a disk). Faked are the clock, the two vendors, and
death: at a system call, or during a request, an exception ends the sender, after which nothing of it reaches the disk any more.
Left out, since it moves no record and takes a third of a life's time: the questions whether the user agrees and the settings
are right, which have one answer here, the clearing of what lies in the way, since nothing does, and the SDK's meter.

INVARIANTS  looked at after every step, for each of the two destinations:
1. ``once``, which can't tell a repetition, gets no record twice.
2. No record is lost in silence: those that arrived, those that wait on disk and those that the ledger counts as dropped are
   together as many as were recorded, at least.
3. What cannot be known is bounded: with each death, and each answer that is lost, one request is counted once too often, or as
   ``unknown_delivery``, unless the disk was full. Where there was none of these the ledger's sums are exact.
4. Nothing is dropped because of settings that somebody may mend.
And at the end, when all is well again: nothing waits, and ``many`` has all that the ledger does not count as dropped.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import otel_usage.delivery.batch
import otel_usage.delivery.sender
import otel_usage.settings.remembered
from otel_usage.delivery.destination import Destination
from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.sender import Sender
from otel_usage.delivery.stop import DeliveryCutError, Stop
from otel_usage.delivery.verdict import Verdict
from otel_usage.otlp import Record
from otel_usage.spool.files import list_files
from otel_usage.spool.layout import BATCH, BATCH_DONE

from ..spools import SCHEMA, run_line

PER_REQUEST = 3  # records in one request to ``once``
CALLS = ("rename", "replace", "unlink", "open", "fsync", "write", "utime", "mkdir")
MEMORY = "/dev/shm"  # a disk in memory, where there is one
# What one request meets. "gone": taken, and the answer lost. "die …": the sender is killed before or after it is taken.
ANSWERS = ("ok", "ok", "ok", "busy", "refused", "wrong", "gone", "die before", "die after", "cut")
PART_NUMBER = re.compile(r"\.[0-9a-f]{4}\.(?=traces)")
SPAN_ID = re.compile(r'"spanId":"([0-9a-f]{16})"')
REAL = {name: getattr(os, name) for name in CALLS}
REAL_TIME, REAL_TIME_NS = time.time, time.time_ns


class Killed(BaseException):
    """The sender is dead."""


class Vendor:
    """An exporter whose requests meet what the world says. at_most_once: as exporters say it."""

    def __init__(self, world: World, name: str, *, at_most_once: bool) -> None:
        self.world = world
        self.name = name
        self.at_most_once = at_most_once
        self.records_per_request = PER_REQUEST if at_most_once else 0

    def deliver(self, spans: Any) -> Verdict:
        """Make requests, as our exporters do: in order, until one fails. Any: the SDK's spans."""
        n, dropped, gone = len(spans), Counter[str](), {}
        for first in range(0, n, PER_REQUEST):
            positions = range(first, min(first + PER_REQUEST, n))
            ids = [f"{spans[position].context.span_id:016x}" for position in positions]
            answer = self.world.next_answer()
            if answer == "die before":
                self.world.die()
            if answer in ("ok", "gone", "die after"):
                self.world.arrived[self.name].update(ids)
            if answer == "die after":
                self.world.die()
            if answer == "cut" and not self.at_most_once:
                self.world.stop.asked = True
                raise DeliveryCutError("cut")
            if answer in ("busy", "cut") or (answer == "gone" and not self.at_most_once):
                rest = tuple(range(first, n))
                return Verdict(rest, 5.0, dict(dropped), 503 if answer == "busy" else None, gone=gone, reason="timeout")
            if answer == "gone":
                self.world.doubts += 1
                dropped["unknown_delivery"] += len(ids)
                return Verdict(tuple(range(positions.stop, n)), None, dict(dropped), None, gone=gone, reason="lost")
            if answer == "wrong":
                rest = tuple(range(first, n))
                return Verdict(rest, None, dict(dropped), 404, gone=gone, reason="http_404", wrong_settings=True)
            if answer == "refused":
                dropped["http_400"] += len(ids)
                gone.update(dict.fromkeys(positions, "http_400"))
        return Verdict((), None, dict(dropped), 200, gone=gone)

    def shutdown(self) -> None:
        """Nothing to do."""


class ModelSender(Sender):
    """A sender whose destinations are the world's vendors."""

    world: World

    def may_send(self) -> bool:
        """Return True: nobody says off."""
        return True

    def destination_fingerprint(self, name: str) -> str:
        """Return what never changes."""
        return name

    def build(self, name: str) -> Destination:
        """Return the vendor as a destination."""
        return Destination(name, {"traces": Vendor(self.world, name, at_most_once=name == "once")}, {})


class FixedCounters:
    """Run counters that are always the same: the model is about where a file of metrics is, not about what it says."""

    def add(self, record: Record) -> None:
        """Count nothing."""

    def period_of(self, end_ns: int) -> int:
        """Return the same for all times."""
        return 0

    def metrics(self) -> list[dict[str, Any]]:
        """Return one counter, as OTLP JSON."""
        return [{"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": []}]}]


LEFT_OUT: tuple[tuple[Any, str, Any], ...] = (  # Any: of any module; see above
    (otel_usage.delivery.sender, "find_problem", lambda settings: ""),
    (otel_usage.delivery.sender, "clear_way", lambda home, spool, names, destinations: None),
    (otel_usage.settings.remembered, "remember", lambda home, settings: None),
    (otel_usage.delivery.batch, "RunCounters", FixedCounters),
)


class World:
    """One spool. Steps: `record`, `live`, `wait`, `jump`, `say`. arrived: how often each record came, by destination."""

    def __init__(self) -> None:
        self.root = tempfile.mkdtemp(dir=MEMORY if os.path.isdir(MEMORY) else None)
        self.home = os.path.join(self.root, "prog")
        self.spool = os.path.join(self.home, "1")
        for name in ("open", "new"):
            os.makedirs(os.path.join(self.spool, name))
        self.offset_s = 0.0
        self.ticks = 0
        self.answers: list[str] = []
        self.arrived: dict[str, Counter[str]] = {"once": Counter(), "many": Counter()}
        self.recorded: set[str] = set()
        self.events: Counter[str] = Counter()  # how often this world came to what: see `count_states`, and the steps
        self.exact = True  # nobody has died yet, and no disk was full
        self.doubts = 0  # how many requests nobody can know all about
        self.dead = False
        self.full_once = False
        self.fuse = 0  # calls until death; 0: none
        self.after = False  # die when the call is done, and not before it
        self.full = 0  # calls of fsync until the disk is full; 0: never
        self.stop = Stop()
        self.settings: dict[str, Any] = {
            "app": "prog", "version": "1.0", "consent": "opt-out", "policy": 1, "about": "", "schema": SCHEMA,
            "destinations": {"once": {}, "many": {}}, "home": self.home, "mode": "on", "since_s": 0, "ci": "x", "lines": [],
            "fingerprint": "0",
        }  # fmt: skip

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    # What is faked.

    def now_ns(self) -> int:
        """Return the time of this world: never twice the same."""
        self.ticks += 1
        return REAL_TIME_NS() + int(self.offset_s * 1e9) + self.ticks

    def next_answer(self) -> str:
        """Return what the next request meets; without plans, all goes well."""
        answer = self.answers.pop(0) if self.answers else "ok"
        self.events[f"answer: {answer}"] += 1
        return answer

    def die(self) -> None:
        """Kill the sender that is at work."""
        self.dead = True
        self.exact = False
        self.doubts += 1
        raise Killed

    def call(self, name: str, *args: Any, **keywords: Any) -> Any:
        """Make a system call, unless the sender is dead, or dies of it. Any: as the call's."""
        if self.dead:
            raise Killed
        if name == "fsync" and self.full:
            self.full -= 1
            if not self.full:
                self.full = 1
                self.events["disk full"] += 1
                self.exact, self.full_once = False, True
                raise OSError(errno.ENOSPC, "No space left on device")
        if self.fuse:
            self.fuse -= 1
            if not self.fuse and not self.after:
                self.events[f"died before {name}"] += 1
                self.die()
        result = REAL[name](*args, **keywords)
        if self.after and self.fuse == 0:
            self.after = False
            if name == "open":
                os.close(result)
            self.events[f"died after {name}"] += 1
            self.die()
        return result

    # Steps.

    def record(self, files: int, spans: int) -> None:
        """A host hands over *files*, each of *spans* records."""
        self.events["records"] += files * spans
        for _ in range(files):
            now_ns = self.now_ns()
            lines = [run_line(start_ns=now_ns)[1:] for _ in range(spans)]
            self.recorded.update(own for own, _ in lines)
            path = os.path.join(self.spool, "new", f"{now_ns:016x}-{lines[0][0]}.traces.jsonl")
            with open(path, "wb") as file:
                file.write(b"".join(text for _, text in lines))

    def live(
        self, answers: list[str], fuse: int = 0, *, after: bool = False, full: int = 0, asked: bool = False
    ) -> None:
        """A sender lives. answers: what its requests meet; fuse: at which system call it dies, 0 for at none."""
        self.answers, self.fuse, self.after, self.full = list(answers), fuse, after and fuse > 0, full
        self.dead, self.stop = False, Stop()
        self.stop.asked = asked
        self.events["senders"] += 1
        self.count_states()
        ModelSender.world = self
        try:
            ModelSender(self.settings, self.stop).run()
        except (Killed, OSError):
            pass
        self.answers, self.fuse, self.full, self.after, self.dead = [], 0, 0, False, False
        self.check()

    def wait(self, seconds: float) -> None:
        """Time passes, or the clock is put back."""
        self.events["clock put back" if seconds < 0 else "time passes"] += 1
        self.offset_s += seconds

    def count_states(self) -> None:
        """Count what a sender that begins now comes upon: the rows of STATES in queue.py, and of an intake that was cut."""
        for name in set(os.listdir(self.spool)) & {BATCH, BATCH_DONE}:
            self.events[f"begins with {name}"] += 1
        for destination in ("once", "many"):
            wait, flight = (
                set(list_files(f"{self.spool}/queue/{destination}/{folder}")) for folder in ("wait", "flight")
            )
            wholes = {PART_NUMBER.sub(".", name) for name in wait if PART_NUMBER.search(name)}
            self.events[f"{destination} begins with waiting"] += len(wait)
            self.events[f"{destination} begins with being split"] += len(wholes & wait)
            self.events[f"{destination} begins with split"] += len(wholes - wait)
            self.events[f"{destination} begins with in flight"] += len(flight - wait)
            self.events[f"{destination} begins with settled"] += len(flight & wait)

    # Invariants.

    def ids_on_disk(self, destination: str) -> set[str]:
        """Return the records that wait for *destination*, wherever."""
        ids: set[str] = set()
        for folder in ("new", f"queue/{destination}/wait", f"queue/{destination}/flight"):
            for name in list_files(f"{self.spool}/{folder}"):
                if name.endswith(".traces.jsonl"):
                    with open(f"{self.spool}/{folder}/{name}") as file:
                        ids.update(SPAN_ID.findall(file.read()))
        return ids

    def ledger(self, destination: str) -> tuple[int, Counter[str]]:
        """Return how many spans the ledger says were sent to *destination*, and dropped there or before, by reason."""
        sent, dropped = 0, Counter[str]()
        for entry in Ledger(self.home).entries():
            if entry["destination"] in (destination, "") and entry["signal"] in ("traces", ""):
                dropped.update(entry["dropped"])
                sent += entry["records"] if entry["result"] == "sent" else 0
        return sent, dropped

    def check(self) -> None:
        """See INVARIANTS."""
        assert set(self.arrived["once"].values()) <= {1}, "counted twice"
        for destination in ("once", "many"):
            arrived, waiting = self.arrived[destination], self.ids_on_disk(destination)
            sent, reasons = self.ledger(destination)
            dropped = sum(reasons.values())
            known = len(waiting | set(arrived))
            assert known + dropped >= len(self.recorded), f"{destination}: lost in silence"
            assert not reasons["http_404"], f"{destination}: dropped for settings"
            if destination == "once" and not self.full_once:  # a full disk has no room for parts: see `Dispatch._split`
                most = self.doubts * PER_REQUEST
                assert reasons["unknown_delivery"] <= most, "more than one request was lost"
                assert sent + dropped + len(waiting) <= len(self.recorded) + most, "counted more often than in doubt"
            if self.exact:
                assert sent + dropped + len(waiting) == len(self.recorded), f"{destination}: {sent} {dropped} {waiting}"
                if destination == "once":
                    assert not waiting.intersection(arrived), "will be sent again"

    def finish(self) -> None:
        """All is well again, and time passes: nothing is left, and everybody has what was not dropped."""
        for _ in range(4):
            self.wait(25 * 3600)
            self.live([])
            if not (self.ids_on_disk("once") or self.ids_on_disk("many")):
                break
        left = [str(path) for path in Path(self.spool).rglob("*") if path.is_file()]
        names = {os.path.basename(path) for path in left}
        assert names <= {"lock", "wake", "dropped", "pause"} or names <= {"lock", "wake"}, left
        for destination in ("once", "many"):
            assert not self.ids_on_disk(destination)
            dropped = self.ledger(destination)[1]
            self.events[f"{destination} arrived"] += len(self.arrived[destination])
            self.events[f"{destination} arrived again"] += sum(self.arrived[destination].values()) - len(
                self.arrived[destination]
            )
            for reason, n in dropped.items():
                self.events[f"{destination} dropped: {reason}"] += n


@contextmanager
def faked(world: World) -> Iterator[None]:
    """Put *world* in the place of clock and system calls of this process, for as long as the context lasts."""

    def faked_call(name: str) -> Callable[..., Any]:
        return lambda *args, **keywords: world.call(name, *args, **keywords)

    environ = dict(os.environ)
    os.environ.update(OTEL_USAGE_HOME=world.root, HOME=world.root, PROG_TELEMETRY="on")
    for name in [name for name in os.environ if name in ("CI", "DO_NOT_TRACK") or name.startswith("GITHUB_")]:
        del os.environ[name]
    real = [(module, name, getattr(module, name)) for module, name, _ in LEFT_OUT]
    for module, name, stand_in in LEFT_OUT:
        setattr(module, name, stand_in)
    for name in CALLS:
        setattr(os, name, faked_call(name))
    time.time, time.time_ns = (lambda: world.now_ns() / 1e9), world.now_ns
    try:
        yield
    finally:
        time.time, time.time_ns = REAL_TIME, REAL_TIME_NS
        for name, call in REAL.items():
            setattr(os, name, call)
        for module, name, former in real:
            setattr(module, name, former)
        os.environ.clear()
        os.environ.update(environ)


STEPS: Mapping[str, int] = {"record": 5, "live": 6, "killed": 6, "full": 1, "wait": 3, "back": 1}


def random_life(seed: int) -> World:
    """Run one interleaving, which *seed* decides; return the world as it ended. Raises AssertionError."""
    chance, world = Random(seed), World()
    try:
        with faked(world):
            world.record(1, 1)
            for _ in range(chance.randint(3, 9)):
                step = chance.choices(list(STEPS), list(STEPS.values()))[0]
                answers = [chance.choice(ANSWERS) for _ in range(chance.randint(0, 8))]
                if step == "record":
                    world.record(chance.randint(1, 3), chance.choice((1, 1, 2, 5)))
                elif step == "live":
                    world.live(answers)
                elif step == "killed":
                    world.live(answers, chance.randint(1, 90), after=chance.random() < 0.5)
                elif step == "full":
                    world.live(answers, full=chance.randint(1, 12))
                else:
                    most_s = 90_000 if step == "wait" else -4_000
                    world.wait(most_s * chance.random())
            world.finish()
    except AssertionError as exc:
        raise AssertionError(f"random_life({seed}): {exc}") from exc
    finally:
        world.close()
    return world
