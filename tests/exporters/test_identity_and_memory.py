"""Who a client is to a vendor, and what exporters remember from one process to the next."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from otel_usage_exporters.segment import SegmentSpanExporter

from .servers import INSTALLATION, OK, events, ga4, messages, resource, run, segment

# -- identity ---------------------------------------------------------------------------------------------------


def test_the_identity_of_the_resource_wins_over_the_kept_one(serve):
    """app.installation.id of the resource is who the client is; without it one is kept per service."""
    server = serve(OK)

    segment(server, folder=None).deliver([run(1), run(2, of=resource(installation=None))])
    segment(server, folder=None).deliver([run(3, of=resource(installation=None))])

    first, second, third = [message["anonymousId"] for message in messages(server) if message["type"] == "track"]
    assert INSTALLATION == first != second == third
    kept = os.path.join(os.environ["OTEL_USAGE_HOME"], "services", "mycli", "id")
    with open(kept, encoding="ascii") as file:
        assert file.read().startswith(second)


def test_an_explicit_identity_wins_over_all(serve):
    """anonymous_id and client_id are used as they are, and nothing is kept for them."""
    server, other = serve(OK), serve((204, {}, b""))

    segment(server, anonymous_id="me").deliver([run()])
    ga4(other, client_id="12.34").deliver([run()])

    assert {"me"} == {message["anonymousId"] for message in messages(server)}
    assert "12.34" == json.loads(other.requests[0][2])["client_id"]


def test_without_a_home_an_identity_lives_as_long_as_the_process(serve, monkeypatch, tmp_path):
    """Where nothing can be kept nothing fails, and no file appears in the current folder."""
    monkeypatch.delenv("OTEL_USAGE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    server = serve(OK)
    exporter = segment(server, folder=None)

    exporter.deliver([run(1, of=resource(installation=None))])
    exporter.deliver([run(2, of=resource(installation=None))])

    assert 1 == len({message["anonymousId"] for message in messages(server)})
    assert [] == os.listdir(tmp_path)


def test_a_services_name_can_not_leave_its_folder(serve):
    """A service.name that looks like a path is a name."""
    for name in ("../../x", "..", "/etc"):
        segment(serve(OK), folder=None).deliver([run(1, of=resource(installation=None, app=name))])

    home = os.environ["OTEL_USAGE_HOME"]
    assert ["services"] == os.listdir(home)
    assert {"..%2F..%2Fx", "%2E%2E", "%2Fetc"} == set(os.listdir(os.path.join(home, "services")))


# -- what is remembered -----------------------------------------------------------------------------------------


def test_traits_are_sent_again_only_once_delivered(serve, tmp_path, new_process):
    """identify is repeated until it was delivered, and then not again, in any process."""
    down, server = serve((503, {}, b"")), serve(OK)

    segment(down, folder=str(tmp_path)).deliver([run(1)])
    new_process()
    segment(server, folder=str(tmp_path)).deliver([run(1)])
    new_process()
    segment(server, folder=str(tmp_path)).deliver([run(2)])

    assert ["identify", "track", "track"] == [message["type"] for message in messages(server)]


def test_a_session_outlives_the_process(serve, tmp_path, new_process):
    """Two senders within half an hour report one session; nothing said to be kept is kept with care."""
    server = serve((204, {}, b""))
    now = time.time_ns()

    ga4(server, folder=str(tmp_path)).deliver([run(1, end_ns=now - 20 * 60 * 10**9)])
    new_process()
    ga4(server, folder=str(tmp_path)).deliver([run(2, end_ns=now)])

    assert 1 == len({event["params"]["session_id"] for event in events(server)})
    assert 0o600 == (tmp_path / "ga4-sessions.json").stat().st_mode & 0o777


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"96521315.1950589633": "x"}', "[" * 100_000])
def test_a_broken_memory_is_none(serve, tmp_path, text):
    """A file that is damaged costs a session, not a delivery."""
    (tmp_path / "ga4-sessions.json").write_text(text)

    assert 204 == ga4(serve((204, {}, b"")), folder=str(tmp_path)).deliver([run()]).status


def test_where_nothing_can_be_kept_nothing_fails(serve, tmp_path):
    """A folder that can't be made costs an identify per process, not a delivery."""
    (tmp_path / "file").write_text("")
    server = serve(OK)
    exporter = segment(server, folder=str(tmp_path / "file" / "below"))

    assert 200 == exporter.deliver([run(1)]).status
    assert 200 == exporter.deliver([run(2)]).status
    assert ["identify", "track", "track"] == [message["type"] for message in messages(server)]


def test_threads_may_deliver_at_once(serve):
    """What one thread sends and gets is not mixed up with another's: every event arrives once, under its key."""
    server, down = serve(OK), serve((503, {}, b""))
    exporters = [SegmentSpanExporter(write_key=f"key-{n}", endpoint=server.url, folder="") for n in range(2)]
    failing = segment(down)
    verdicts = []

    def work(n):
        for at in range(10):
            exporter = exporters[n % 2]
            verdicts.append((exporter.deliver([run(n * 100 + at + 1)]).unsent, failing.deliver([run(1)]).unsent))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [((), (0,))] * 40 == verdicts
    assert 40 == len({message["messageId"] for message in messages(server) if message["type"] == "track"})


def test_memory_is_bounded(tmp_path):
    """A thousand installations are remembered, the latest."""
    from otel_usage_exporters.memory import MAX_ENTRIES, Memory

    kept = Memory(str(tmp_path), "x")
    kept.update({str(n): n for n in range(MAX_ENTRIES + 5)})
    kept.update({"5": 0})

    assert MAX_ENTRIES == len(Memory(str(tmp_path), "x").read())
    assert "0" not in kept.read()
    assert "5" == list(kept.read())[-1]
