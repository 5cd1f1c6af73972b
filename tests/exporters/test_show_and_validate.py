"""What would be sent is shown, and Google's debug endpoint is asked, without sending anything."""

from __future__ import annotations

import gzip
import json
import os

from otel_usage.receiver import ga4 as ga4_wire

from .servers import OK, SECRET, action, ga4, run, segment

# -- what would be sent -----------------------------------------------------------------------------------------


def test_what_is_shown_is_what_is_sent(serve):
    """requests_for gives, without sending, what deliver sends, but for keys and the time of sending."""
    server, other = serve((204, {}, b"")), serve(OK)
    spans = [run(1), action(2)]
    shown = ga4(server).requests_for(spans)
    shown_segment = segment(other).requests_for(spans)
    assert [] == server.requests + other.requests

    ga4(server).deliver(spans)
    segment(other).deliver(spans)

    [(method, address, headers, body)] = shown
    path, got, sent = server.requests[0]
    assert ("POST", server.url + path.replace(SECRET, "REDACTED"), sent) == (method, address, body)
    assert headers.items() <= got.items()
    [(_, address, headers, body)] = shown_segment
    assert other.url + other.requests[0][0] == address
    real = json.loads(gzip.decompress(other.requests[0][2]))
    mine = json.loads(body)
    assert ({**mine, "sentAt": 0, "writeKey": 0}, "REDACTED") == (
        {**real, "sentAt": 0, "writeKey": 0},
        mine["writeKey"],
    )
    assert "Basic REDACTED" == headers["Authorization"]


def test_looking_changes_nothing(serve, tmp_path):
    """requests_for opens no session, learns no traits and sends nothing."""
    exporter = segment(serve(OK), folder=str(tmp_path))

    exporter.requests_for([run()])
    ga4(serve(OK), folder=str(tmp_path)).requests_for([run()])

    assert [] == os.listdir(tmp_path)


# -- validate ---------------------------------------------------------------------------------------------------


def test_validate_asks_the_debug_endpoint_and_records_nothing(serve, caplog):
    """validate sends to the debug endpoint, logs what it says readably, and counts the events as not recorded."""
    server = serve((204, {}, b""))
    server.reply = lambda path, headers, body: ga4_wire.answer(path, "", body.replace(b"command_run", b"_bad"))[:3]

    verdict = ga4(server, validate=True).deliver([run()])

    assert server.requests[0][0].startswith("/debug/mp/collect?")
    assert b'"validation_behavior":"ENFORCE_RECOMMENDATIONS"' in server.requests[0][2]
    assert {"validated": 1} == verdict.dropped
    assert "GA4 validation: events[0].name: Event at index: [0] has invalid name [_bad]" in caplog.text


def test_validate_says_so_if_all_is_well(serve, caplog):
    """No objection is said too, and that nothing was recorded."""
    server = serve((204, {}, b""))
    server.reply = lambda path, headers, body: ga4_wire.answer(path, "", body)[:3]

    ga4(server, validate=True).deliver([run()])

    assert "no objection; nothing was recorded" in caplog.text


def test_validate_with_an_answer_that_is_none(serve, caplog):
    """A debug endpoint that answers something else is told, and fails nothing."""
    verdict = ga4(serve((200, {}, b"<html>")), validate=True).deliver([run()])

    assert {"validated": 1} == verdict.dropped
    assert "answer can't be read" in caplog.text
