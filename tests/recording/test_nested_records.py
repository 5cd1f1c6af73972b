"""A signal handler that records while its own thread is recording: whatever line it interrupts, both are there."""

from __future__ import annotations

import pytest

from ..hosts import Host

SCHEMA = {
    "n": {"kind": "count", "why": "x", "fields": {"who": ["thread", "handler"]}},
    "did": {"why": "x", "fields": {"who": ["thread", "handler"]}},
}
# Lines that call nothing, after one that calls nothing: no handler runs before them, except in a test that traces.
UNINTERRUPTED = [
    "self._map[NAMES_AT + begin : NAMES_AT + end] = text",
    "self._head[1] = end",
    "place = self._n",
    "self._n = place + 1",
    "return self._numbers[place : place + 1]",
]
# A child for each line: its handler records at that line, and nothing is recorded after it.
LINE_BY_LINE = f"""
import linecache, os, signal, sys
import otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema={SCHEMA!r}, service=SERVICE)
WRITING = {{"settle", "write", "tick", "drop", "_count", "new_cell", "_append", "began", "ended", "flush",
    "take", "_settle", "_add_up", "put", "_complete", "complete", "_load", "_loaded", "<module>", "of_this_process", "_events"}}
def work(who):
    usage.count("n", who=who)
    with usage.action("did", who=who, other=1):
        pass
def child(moment):
    lines = 0
    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_name in WRITING and "otel_usage" in frame.f_code.co_filename and event == "line" and (
            linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() not in {UNINTERRUPTED}
        ):
            if lines == moment:
                signal.raise_signal(signal.SIGUSR1)
            lines += 1
        return trace
    signal.signal(signal.SIGUSR1, lambda *_: work("handler"))
    sys.settrace(trace)
    work("thread")
    sys.settrace(None)
    os._exit(0 if lines > moment else 99)
moment = 0
while True:
    process = os.fork()
    if process == 0:
        try: child(moment)
        finally: os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status == 99: break
    assert status == 0, (moment, status)
    moment += 1
os.write(1, str(moment).encode())
os._exit(0)
"""


@pytest.mark.parametrize("service", [True, False], ids=["service", "worker"])
def test_a_handler_at_every_line_of_recording(host: Host, service: bool) -> None:
    """Nothing of what the handler recorded waits for a next call, which never comes."""
    ended = host.run(LINE_BY_LINE.replace("SERVICE", str(service)))
    assert 0 == ended.status, ended.err.decode()
    moments = int(ended.out)
    host.adopt()

    counted = dict.fromkeys(("thread", "handler"), 0)
    for (name, key), n in host.counts.items():
        if name == "usage.count.n":
            counted[dict(key)["usage.field.who"]] += n
    actions = [span.attributes["usage.field.who"] for span in host.spans if span.attributes["usage.kind"] == "action"]

    assert 50 < moments, "the lines that record were not found"
    assert {"handler": moments, "thread": moments + 1} == counted
    assert 2 * moments + 1 == sum(n for (name, _), n in host.counts.items() if name == "usage.dropped")
    assert (moments, moments + 1) == (actions.count("handler"), actions.count("thread"))
