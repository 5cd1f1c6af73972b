"""``preview``, ``history`` and ``schema`` as commands: what they print, and when they print nothing."""

from __future__ import annotations

import json

import pytest

from ..hosts import until
from ..users import Sink, User, asked, sent_once, settled


def test_preview_shows_what_is_sent_next_and_moves_nothing(user: User, sink: Sink):
    """Its spans are, attribute by attribute, those that arrive afterwards; before that nothing moved or was sent."""
    sent_once(user, sink)
    already = set(sink.ids())
    user.prog("report", T_SINK=sink.address)
    before = user.kept

    told = asked(user, "preview")
    assert before == user.kept
    assert already == set(sink.ids())
    previewed = [request["body"] for request in told["requests"] if request["signal"] == "traces"]
    spans = {s["spanId"]: s for p in previewed for g in p["resourceSpans"] for c in g["scopeSpans"] for s in c["spans"]}
    resources = [g["resource"]["attributes"] for p in previewed for g in p["resourceSpans"]]
    (user.spool / "wake").unlink()
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 6)
    settled(user)

    from otel_usage.otlp import attributes_of

    arrived = {span["spanId"]: span for span in sink.spans()}
    assert 2 == len(spans)
    for number, span in spans.items():
        assert attributes_of(span["attributes"]) == arrived[number]["attributes"]
        assert attributes_of(resources[0]) == arrived[number]["resource"]
        assert (span["name"], span["startTimeUnixNano"]) == (
            arrived[number]["name"],
            arrived[number]["startTimeUnixNano"],
        )


def test_preview_shows_what_a_queue_holds(user: User, sink: Sink):
    """What was taken in but not delivered yet is part of what would be sent next."""
    sink.answer = lambda _n: (503, {}, b"")
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.told)
    settled(user)
    assert list((user.spool / "queue" / "otlp" / "wait").iterdir())

    told = asked(user, "preview")

    assert "report.upload" in json.dumps(told["requests"])


@pytest.mark.parametrize(("words", "reason"), [({}, ""), ({"DO_NOT_TRACK": "1"}, "off, by DO_NOT_TRACK")])
def test_preview_says_none_when_nothing_would_be_sent(user: User, sink: Sink, words, reason):
    """Nothing waits, or somebody said off: "none", and why."""
    sent_once(user, sink)
    if words:
        user.prog("report", T_SINK=sink.address)

    ended = user.ours("preview", "--app", "prog", **words)

    assert ended.out.startswith(b"none")
    assert reason.encode() in ended.out


def test_preview_before_consent(user: User, sink: Sink):
    """``--if-on`` shows by what was recorded so far what a yes would send, and says that this stays; nothing is sent."""
    user.prog("report", PROG_TELEMETRY="local")

    plain = user.prog("telemetry", "preview", PROG_TELEMETRY="local", T_SINK=sink.address)
    ended = user.prog("telemetry", "preview", "--if-on", PROG_TELEMETRY="local", T_SINK=sink.address)

    assert plain.out.startswith(b"none")
    assert ended.out.startswith(b"An example")
    assert b"report.upload" in ended.out
    assert [] == sink.told


def test_if_on_shows_what_a_yes_would_send(user: User, sink: Sink):
    """What waits with its user's agreement, and is held back by an off elsewhere, is no example; what is local is none."""
    user.choose("noticed")
    user.prog("report", T_SINK=sink.address)
    local = user.prog("report", T_SINK=sink.address, PROG_TELEMETRY="local")
    assert b"reported\n" == local.out
    (waiting,) = user.runs

    ended = user.prog(
        "telemetry", "preview", "--if-on", "--json", DO_NOT_TRACK="1", T_SINK=sink.address, T_FRAMEWORK="click"
    )
    told = json.loads(ended.out)

    assert not told["example"]
    assert 1 == ended.out.count(f'"spanId": "{waiting.ids[1]}"'.encode())
    (traces,) = (request for request in told["requests"] if request["signal"] == "traces")
    assert 3 == traces["records"]  # with the first run


def test_history_is_the_ledger(user: User, sink: Sink):
    """Every delivery is there: when, to whom, how many, and what was answered."""
    sent_once(user, sink)

    told = asked(user, "history")

    assert {("otlp", "traces", 3, "sent", 200), ("otlp", "metrics", 4, "sent", 200)} == {  # with the first run
        (e["destination"], e["signal"], e["records"], e["result"], e["status"]) for e in told
    }


@pytest.mark.parametrize("n", ["0", "-1", "x", "1.5"])
def test_history_of_no_deliveries_is_wrong_usage(user: User, n: str):
    """``-n`` takes 1 and more; anything else ends with 2, and says so."""
    ended = user.ours("history", "--app", "prog", f"--last={n}")

    assert 2 == ended.status
    assert f"'{n}' is not a number of deliveries: 1 or more".encode() in ended.err


def test_schema_in_words(user: User, sink: Sink):
    """Every declared name, field and value is there, from the host and from what the sender remembers alike."""
    sent_once(user, sink)

    hosts = user.prog("telemetry", "schema", T_SINK=sink.address).out
    ours = user.ours("schema", "--app", "prog").out

    assert hosts == ours
    for word in (
        b"report.upload",
        b"one of pdf, html",
        b"only the range: <1 MB, 1-10 MB, >=10 MB",
        b"yes or no",
        b"from 0 to 10",
    ):
        assert word in ours


def test_what_nobody_knows_can_not_be_shown(user: User):
    """schema of a program that has sent nothing yet: 1, and where to ask."""
    user.choose("on")

    ended = user.ours("schema", "--app", "prog")

    assert 1 == ended.status
    assert b"has not sent anything yet" in ended.err
