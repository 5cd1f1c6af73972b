"""What each receiver knows an installation as: what is printed is what was sent, so that it can be named there."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from otel_usage.control.known_as import ids_at
from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener

from ..exporters.named_vendors import NAMED, OTHERS
from ..hosts import until
from ..users import User, asked, settled

ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
PROGRAM = """
import argparse, otel_usage

destinations = {"otlp": "%(address)s",
    "ga4": {"measurement_id": "G-AB12CD34EF", "api_secret": "s3cret", "endpoint": "%(address)s"},
    "segment": {"write_key": "k3y", "endpoint": "%(address)s"}, %(named)s}
otel_usage.init("prog", version="1", consent="opt-in", about="https://prog.example.org", destinations=destinations)
commands = (parser := argparse.ArgumentParser("prog")).add_subparsers(dest="command")
commands.add_parser("report")
otel_usage.mount(commands)
parser.parse_args()
"""


@pytest.fixture
def sent(user: User) -> tuple[str, dict[str, str]]:
    """A run was sent to all of them. Returns the program, and as whom each destination got it."""
    arrivals: list[Arrival] = []
    with Listener(0, arrivals.append) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        named = {name: {**of.settings, "endpoint": listener.address} for name, of in OTHERS.items()}
        program = PROGRAM % {"address": listener.address, "named": repr(named)[1:-1]}
        user.choose("on")
        user.run(program, "report", env={"OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"})
        until(lambda: {"ga4", "segment", "otlp", *OTHERS} <= {arrival.kind for arrival in arrivals})
        settled(user)
        listener.shutdown()
    assert [] == [problem for arrival in arrivals for problem in arrival.problems]
    return program, {arrival.kind: sender_of(arrival) for arrival in arrivals}


def test_what_is_said_is_what_was_sent(user: User, sent: tuple[str, dict[str, str]]) -> None:
    """``status`` before, ``reset-id`` and ``off`` for the last time, in words and for machines."""
    _, known = sent
    fields = {"ga4": "client_id", "segment": "anonymousId", "otlp": "app.installation.id"}
    fields |= {name: of.field for name, of in OTHERS.items()}
    expected = {name: {field: known[name]} for name, field in fields.items()}

    status = {name: row["known_as"] for name, row in asked(user, "status")["destinations"].items()}
    (installation,) = {known["segment"], known["otlp"], *[known[name] for name in NAMED]}
    ids = json.loads(user.ours("ids", installation, "--json").out)
    words = [user.ours("status", "--app", "prog").out.decode()]
    off = asked(user, "off")

    assert expected == status
    assert expected == {name: total["known_as"] for name, total in off["sent"].items()}
    assert all({**ids[name], **of} == ids[name] for name, of in expected.items())
    for text in words:
        assert all(f"{field} {known[name]}" in " ".join(text.split()) for name, field in fields.items())


@pytest.mark.parametrize("verb", ["off", "reset-id", "forget"])
def test_what_forgets_the_id_names_it_once_more(user: User, sent: tuple[str, dict[str, str]], verb: str) -> None:
    """From the mounted command and in words: each receiver's own id, and whom to send them to."""
    program, known = sent

    ended = user.run(program, "telemetry", verb)
    said = " ".join(ended.out.decode().split())

    assert 0 == ended.status
    assert f"client_id {known['ga4']}" in said
    assert f"anonymousId {known['segment']}" in said
    assert f"app.installation.id {known['otlp']}" in said
    assert "to the maintainers of prog: https://prog.example.org" in said


def test_what_can_be_told_of_destinations() -> None:
    """Web and app streams have ids of two kinds; one for all installations, or an exporter that does not tell, is none."""
    settings: dict[str, Any] = {
        "destinations": {
            "ga4": {"measurement_id": "G-AB12CD34EF", "client_id": "(kept-secret)"},
            "segment": {"write_key": "k", "anonymous_id": "all"},
            **{name: {**of.settings, of.one: "all-of-us"} for name, of in OTHERS.items()},
            "console": {},
            "otlp": "https://usage.example.org",
        }
    }
    app = {"destinations": {"ga4": {"firebase_app_id": "1:2:ios:a"}}}

    none = {name: {} for name in ("ga4", "segment", "console", *OTHERS)}
    assert {**none, "otlp": {"app.installation.id": ID}} == ids_at(settings["destinations"], ID, settings)
    assert {"ga4": {"app_instance_id": "8f1d6f196501ba24a96b7d9f8b3134b7"}} == ids_at(["ga4"], ID, app)
    assert {"ga4": {"client_id": "253587227.1694612005"}} == ids_at(
        ["ga4"], ID, {"destinations": {"ga4": {"measurement_id": "G-AB12CD34EF"}}}
    )


def test_settings_of_the_standard_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host leaves the destinations to the variables, so does what is told."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "ga4,segment")
    monkeypatch.setenv("OTEL_EXPORTER_GA4_FIREBASE_APP_ID", "1:2:ios:a")
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_ANONYMOUS_ID", "all")

    told_of = ids_at(["ga4", "segment"], ID, None)

    assert {"ga4": ["app_instance_id"], "segment": []} == {name: list(fields) for name, fields in told_of.items()}


def test_no_sdk_is_loaded_to_tell() -> None:
    """Deriving ids costs no import of an SDK or of requests."""
    source = f"""
import sys
from otel_usage.control.known_as import ids_at
assert all(ids_at({["ga4", "segment", "otlp", *OTHERS]!r}, "{ID}", None).values())
print([name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "requests", "urllib3")])
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)

    assert "[]\n" == ended.stdout


def test_what_is_no_id_is_wrong_usage(user: User) -> None:
    """``otel-usage ids`` takes the id of an installation alone."""
    ended = user.ours("ids", "ada@example.org")

    assert 2 == ended.status
    assert b"is no id of an installation" in ended.err


def sender_of(arrival: Arrival) -> str:
    body = arrival.body
    if arrival.kind == "ga4":
        return str(body["client_id"])
    if arrival.kind in OTHERS:
        return OTHERS[arrival.kind].who(OTHERS[arrival.kind].listed(body)[0])
    if arrival.kind == "segment":
        return str(body["batch"][0]["anonymousId"])
    resource = next(iter(body.get("resourceSpans") or body["resourceMetrics"]))["resource"]
    (found,) = [each["value"] for each in resource["attributes"] if each["key"] == "app.installation.id"]
    return str(found["stringValue"])
