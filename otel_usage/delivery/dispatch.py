"""Send what the queues hold, segment file by segment file, and do with each what its destination's verdict says.

ALGORITHM
1. The queues are asked in the order of their failures, so that who failed before holds up nobody.
2. A segment file that holds more than one request of a destination which can't tell a repetition is split first: what is in
   flight is what one request holds.
3. What this process has just written into a segment file it does not read again: a batch that was taken in, and the parts of
   a file that was split, are sent to all destinations as they are in memory.
4. It is taken into flight, delivered, and settled: see STATES in queue.py.
5. A destination that fails is paused, and left alone. Where its answer says that the settings are wrong, that is its pause for
   one signal: the other may be taken.
6. Before each segment file the user is asked (the gate), and whether the process is to end.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..otlp import Record
from ..spool.layout import TRACES
from ..spool.set_aside import set_aside
from .destination import Destination, is_failing
from .ledger import Ledger, Result
from .losses import Losses
from .otlp_answer import NO_DELTAS
from .queue import Queue
from .segment_file import Points, Spans, count_records, parts_of
from .stop import DeliveryCutError, Stop
from .verdict import VALIDATED, Verdict

if TYPE_CHECKING:
    from .sender import Sender

NO_DELTAS_PROBLEM = (
    "it takes no delta counters: send it spans alone ('metrics': 'none'), or through a gateway that converts them"
)


class Dispatch:
    """Sends what *queues* hold. sender: who says whether to go on, and builds destinations."""

    def __init__(self, sender: Sender, queues: list[Queue], losses: Losses) -> None:
        self.sender = sender
        self.queues = queues
        self.losses = losses
        self.ledger: Ledger = sender.ledger
        self.stop: Stop = sender.stop
        self.newest: tuple[str, Sequence[Record]] = "", ()  # see `send`
        self._newest_spans: Spans | None = None  # the same, once a queue has asked for it

    def recover(self) -> None:
        """Deal with what an earlier sender was sending: send it again where that does no harm, else count it as lost."""
        for queue in self.queues:
            queue.recover_waiting()
            in_flight = queue.list_in_flight()
            if not in_flight:
                continue
            queue.count_cut_off()
            destination = self.sender.destination(queue)
            if destination is None:  # nobody knows whether it can tell a repetition
                continue
            for segment_file in in_flight:
                if destination.at_most_once:
                    self._drop(queue, os.path.join(queue.flight_folder, segment_file), "unknown_delivery")
                    queue.remove_from_flight(segment_file)
                else:
                    queue.return_to_wait(segment_file)

    def send(self, newest: tuple[str, Sequence[Record]] = ("", ())) -> None:
        """Send what every queue holds, but for those that are paused.

        newest: a segment file that has just been put into every queue, and what it holds. Each queue is gone through once here,
        so that nothing is sent from memory twice: what is left of it afterwards is read from the disk.
        """
        self.newest, self._newest_spans = newest, None
        for queue in sorted(self.queues, key=lambda queue: queue.failures()):
            self.drop_excess(queue)
            try:
                if not self._send_from(queue):
                    return
            except OSError:  # of the disk: whatever the destination is like, its queue can't be worked on now
                if not os.path.isdir(queue.folder):  # the user has just said off
                    return
                self.ledger.append(queue.name, "", 0, Result.RETRY, None, {}, reason="fault")
                self._fail(queue, "", Verdict(reason="fault"))

    def drop_excess(self, queue: Queue) -> None:
        """Drop what *queue* holds too long, and what it holds too much of."""
        for segment_file, reason in list(queue.find_excess(time.time())):
            self._drop(queue, os.path.join(queue.wait_folder, segment_file), reason)
            queue.remove_waiting(segment_file)

    def _send_from(self, queue: Queue) -> bool:
        """Send what *queue* holds, until its destination fails. False if nothing more may be sent to anybody."""
        waiting: deque[tuple[str, Spans | Points | None]] = deque()
        waiting.extend((name, None) for name in queue.list_due(self.sender.version, time.time()))
        while waiting:
            segment_file, content = waiting.popleft()
            signal = _signal_of(segment_file)
            if queue.paused_until_s(time.time()):
                return True
            if queue.paused_until_s(time.time(), signal):
                continue
            if self.stop.asked or not self.sender.may_send():  # the user has just said off
                return False
            destination = self.sender.destination(queue)
            if destination is None:
                return True
            if signal not in destination.exporters:
                queue.remove_waiting(segment_file)
                continue
            content = content or self._read(queue, segment_file)
            if content is None:
                continue
            parts = self._split(queue, segment_file, content, destination)
            if parts:
                waiting.extendleft(reversed(parts))
                continue
            self._deliver(queue, destination, segment_file, content)
        return not self.stop.asked

    def _read(self, queue: Queue, segment_file: str) -> Spans | Points | None:
        """Return what a waiting segment file holds. One that can't be read is dropped: None."""
        path = os.path.join(queue.wait_folder, segment_file)
        try:
            content: Spans | Points
            if segment_file == self.newest[0]:
                self._newest_spans = self._newest_spans or Spans.of(self.newest[1], self.sender.added_attributes())
                content = self._newest_spans
            else:
                kind = Spans if segment_file.endswith(TRACES) else Points
                content = kind.read(path, self.sender.added_attributes())
            if len(content):
                return content
        except FileNotFoundError:  # the user has just said off
            return None
        except (OSError, ValueError, RecursionError):
            pass
        dropped = {"corrupt": count_records(path)}
        if set_aside(self.sender.spool, path):  # else it stays, and would be counted by every sender
            self.count(queue.name, _signal_of(path), dropped)
        return None

    def _split(
        self, queue: Queue, segment_file: str, content: Spans | Points, destination: Destination
    ) -> list[tuple[str, Spans | Points]]:
        """Split a waiting segment file into parts of what one request holds; return their names with what they hold.

        None of them if it may stay as it is.
        """
        most = destination.records_per_request
        if not most:
            return []
        origins = content.origins() if destination.one_client_per_request else [None] * len(content)
        positions = parts_of(origins, most)
        if len(positions) < 2:
            return []
        parts = [content.part(one) for one in positions]
        try:
            names = queue.split(segment_file, (part.lines(range(len(part))) for part in parts))
            return list(zip(names, parts, strict=True))
        except OSError:  # no room for the parts: it is sent as it is, which makes room
            return []

    def _deliver(self, queue: Queue, destination: Destination, segment_file: str, content: Spans | Points) -> None:
        """Send one segment file, and settle it."""
        signal = _signal_of(segment_file)
        queue.take_to_flight(segment_file)
        n = len(content)
        try:
            self.stop.begin(destination.limit_s, may_cut=not destination.at_most_once)
            try:
                verdict = destination.deliver(signal, content.items, n)
            finally:
                self.stop.end()
        except DeliveryCutError:
            verdict = destination.unknown(n, "timeout")
        except Exception:  # of somebody else's exporter
            verdict = destination.unknown(n, "fault")
        self._settle(queue, segment_file, content, verdict)

    def _settle(self, queue: Queue, segment_file: str, content: Spans | Points, verdict: Verdict) -> None:
        """Do with a segment file in flight what *verdict* says, and write it down. See ALGORITHM 1 of queue.py."""
        signal = _signal_of(segment_file)
        unsent = sorted({position for position in verdict.unsent if 0 <= position < len(content)})
        dropped = sum(verdict.dropped.values())
        sent = max(len(content) - len(unsent) - dropped - verdict.skipped, 0)
        stopped = self.stop.asked and len(unsent) == len(content)  # by us: it says nothing about the destination
        self.losses.add(verdict.dropped)
        if not stopped and (sent > 0 or unsent or dropped):
            result = Result.SENT if sent > 0 else Result.RETRY if unsent else Result.DROPPED
            if VALIDATED in verdict.dropped and result is Result.DROPPED:
                result = Result.VALIDATED
            n = sent if sent > 0 else len(unsent) + dropped
            self.ledger.append(
                queue.name,
                signal,
                n,
                result,
                verdict.status,
                verdict.dropped,
                reason=_reason_of(verdict),
                why=verdict.objections,
            )
        if is_failing(verdict):
            if not self.stop.asked:
                self._fail(queue, signal, verdict)
        elif sent > 0 or verdict.status is not None:
            queue.resume(signal)
        if not unsent:
            queue.remove_from_flight(segment_file)
        elif len(unsent) == len(content):
            queue.return_to_wait(segment_file)
        else:
            queue.return_to_wait(segment_file, content.lines(unsent))

    def _fail(self, queue: Queue, signal: str, verdict: Verdict) -> None:
        """Pause *queue*, for one signal alone if the settings may be to blame."""
        pause: Callable[..., None] = queue.pause
        jitter = random.random()  # noqa: S311
        settings = self.sender.destination_fingerprint(queue.name)
        if verdict.wrong_settings:
            problem = NO_DELTAS_PROBLEM if verdict.reason == NO_DELTAS else f"it answers HTTP {verdict.status}"
            pause(time.time(), verdict.retry_after_s, jitter, signal=signal, settings=settings, problem=problem)
        else:
            pause(time.time(), verdict.retry_after_s, jitter, settings=settings)

    def _drop(self, queue: Queue, path: str, reason: str) -> None:
        """Count the records of the segment file at *path*, which *queue* will never send."""
        self.count(queue.name, _signal_of(path), {reason: count_records(path)})

    def count(self, destination: str, signal: str, dropped: Mapping[str, int]) -> None:
        """Count what was dropped, for the user's own record and for the next batch. destination: "" if it came to none."""
        self.losses.add(dropped)
        self.ledger.append(destination, signal, sum(dropped.values()), Result.DROPPED, None, dropped)


def _signal_of(segment_file: str) -> str:
    return "traces" if segment_file.endswith(TRACES) else "metrics"


def _reason_of(verdict: Verdict) -> str:
    """Return why not everything was sent, in one word; "" if it was."""
    if verdict.reason or not (verdict.unsent or verdict.dropped):
        return verdict.reason
    return f"http_{verdict.status}" if verdict.status is not None and not 200 <= verdict.status < 300 else ""
