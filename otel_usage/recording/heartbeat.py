"""Say now and then that a service is alive, with what its `snapshot` says.

FORMAT  ``beats/phase``           seconds of the day (UTC) at which an installation's day begins; written by its senders
        ``beats/day.<number>``    a heartbeat of that day was written; it holds the checksum of its fields
        ``beats/hour.<number>``   likewise, one that came sooner since the fields had changed
        A heartbeat's span has ids that only say which it is: a trace that begins with 16 zeros, and then 1 for a day's, or the
        checksum. The sender makes the ids that leave of the installation's: see delivery/beats.py.

ALGORITHM
1. The first is due `FIRST_S` after the service began: what crashes again and again, or runs for a test, says nothing.
2. A day's window begins at the phase, which is another one for each installation. One process of all on this disk makes its
   file, and so writes the heartbeat.
3. In between the snapshot is asked hourly. If it says something else than the last time, an hour's file is made, and a
   heartbeat written.
4. A snapshot that fails, or takes longer than `ANSWER_S`, is counted as dropped; the heartbeat goes without fields. One that has
   not answered yet is not asked again. Without threads it is asked by the call that sees to the heartbeat.

RACES   Two processes want to write at once: one of them makes the file.
"""

import os
import threading
from binascii import crc32
from time import monotonic, time  # bound here, before a program's tests can patch the module

from .. import _fault
from ..schema.fields import accept
from ..spool.layout import BEATS
from .claims import claim, list_oldest_first, read_line, remove_all
from .otlp_events import span
from .recorder import time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .recorder import Recorder
    from .write_through import WrittenThrough

    Snapshot = Callable[[], Mapping[str, object]]

FIRST_S = 300.0
ANSWER_S = 1.0  # what a heartbeat waits for its snapshot
DAY_S = 86_400
HOUR_S = 3_600
MOST_FILES = 32  # in beats/
UNSENT = "0" * 16  # begins the trace of a heartbeat whose ids are not made yet
OF_A_DAY = f"{1:016x}"
CLAIMS = ("day.", "hour.")
BARE = "heartbeat"  # the name of one that no schema declares, and that has no fields


class Heartbeat:
    """When the next heartbeat of a service is due, and what it says."""

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.folder = f"{recorder.spool}/{BEATS}"
        self.snapshot: Snapshot | None = None
        self.with_thread = recorder.settings.get("heartbeat") != "calls"
        self.asking: threading.Thread | None = None  # asks the snapshot
        self.name = ""
        self.due_s = 0.0  # by the monotonic clock; see `began`

    def began(self) -> None:
        """Begin anew, in this process."""
        self.due_s = monotonic() + FIRST_S
        self.asking = None

    def beat(self, events: "WrittenThrough") -> None:
        """Write a heartbeat if one is due, and set when to look again. Raises OSError."""
        now_s = time()
        phase_s = self._phase_s()
        day = int(now_s - phase_s) // DAY_S
        # The next day's, or the next look at the snapshot; not to the second, since whole fleets begin together.
        next_s = (day + 1) * DAY_S + phase_s - now_s + os.urandom(1)[0]
        self.due_s = monotonic() + (next_s if self.snapshot is None else min(next_s, HOUR_S))
        name, pairs = self._fields(events)
        checksum = f"{crc32(repr(pairs).encode('utf-8', 'replace')):016x}"
        if self._claim(f"day.{day}", checksum):
            which = OF_A_DAY
        elif checksum != self._last() and self._claim(f"hour.{int(now_s) // HOUR_S}", checksum):
            which = checksum
        else:
            return
        attributes = [("usage.kind", "heartbeat"), ("usage.heartbeat", name)]
        attributes += [("usage.field." + field, value) for field, value in pairs]  # type: ignore[misc]
        now_ns = time_ns()
        events.write_span(span(UNSENT + which, which, "", name, now_ns, now_ns, attributes, False))  # type: ignore[arg-type]

    def _phase_s(self) -> int:
        try:
            return int(read_line(f"{self.folder}/phase")) % DAY_S
        except ValueError:  # no sender has been here yet
            return 0

    def _fields(self, events: "WrittenThrough") -> "tuple[str, list[tuple[str, object]]]":
        """Return the heartbeat's name, and what the snapshot says."""
        schema = self.recorder.settings["schema"]
        declared = [name for name, row in schema.items() if row.get("kind") == "heartbeat"]
        name = self.name or (declared[0] if len(declared) == 1 else BARE)
        fields: Mapping[str, object] = {}
        if self.snapshot is not None:
            answer = self._ask(self.snapshot)
            events.drop("snapshot", int(answer is None))
            fields = answer or fields
        pairs, reasons = accept(schema, "heartbeat", name, fields)
        if pairs is None:
            name, pairs, reasons = BARE, [], ["undeclared"] * bool(fields)
        for reason in reasons:
            events.drop(reason)
        return name, sorted(pairs)

    def _ask(self, snapshot: "Snapshot") -> "dict[str, object] | None":
        """Return what *snapshot* says; None if it fails, or has not answered in time."""
        answers: list[dict[str, object]] = []

        def ask() -> None:
            try:
                answers.append(dict(snapshot()))
            except BaseException:  # the program's own; nobody shall see it in a thread of ours
                if threading.current_thread() is not self.asking:
                    raise

        if self.asking is not None and self.asking.is_alive():
            return None
        if self.with_thread:
            try:
                self.asking = threading.Thread(target=ask, name="otel-usage snapshot", daemon=True)
                self.asking.start()
                self.asking.join(ANSWER_S)
                return answers[0] if answers else None
            except RuntimeError:  # no more threads can be had
                _fault(expected=True)
        try:
            ask()
        except Exception:
            _fault(expected=True)
        return answers[0] if answers else None

    def _claim(self, name: str, checksum: str) -> bool:
        """True if this process is the first to make the file *name*. Raises OSError."""
        if not claim(f"{self.folder}/{name}", checksum):
            return False
        remove_all(self.folder, list_oldest_first(self.folder, CLAIMS)[:-MOST_FILES])
        return True

    def _last(self) -> str:
        """Return the checksum of what was said last. Raises OSError."""
        names = list_oldest_first(self.folder, CLAIMS)
        return read_line(f"{self.folder}/{names[-1]}") if names else ""
