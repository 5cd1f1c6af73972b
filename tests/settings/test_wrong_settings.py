"""Wrong settings, or none, at a user's: what is recorded waits, `status` says why, and a change is heeded at once."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ..delivery.test_processes import senders
from ..hosts import Ended, Host, until
from ..spools import Sink

PROGRAM = """
import os
import otel_usage
settings = {"version": "1", "consent": "opt-in", **eval(os.environ["T_SETTINGS"])}
otel_usage.init("prog", **settings)
"""


class Developer(Host):
    """Somebody who tries it out, with real senders."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ.update(OTEL_USAGE_SENDER="detached", OTEL_USAGE_SEND_DELAY_S="0.05")

    def prog(self, settings: str, **env: str | None) -> Ended:
        """Run the program once, with *settings* (Python) for ``init``, and wait for the sender."""
        ended = self.run(PROGRAM, env={"T_SETTINGS": settings, **env})
        if (env.get("OTEL_USAGE_SENDER") or "detached") == "detached":
            until(lambda: self.settled)
        return ended

    @property
    def settled(self) -> bool:
        """True if what waited was taken in, or a pause is on, and no sender is left. A new one has no environment yet."""
        paused = self.token.exists() and self.token.stat().st_mtime > time.time() + 20
        return (paused or not self.files()) and not senders(self)

    def ours(self, *words: str, **env: str | None) -> str:
        """Return what an ``otel-usage`` command says; it never fails with a traceback."""
        ended = self.run("-m", "otel_usage.cli", *words, env=env)
        assert b"Traceback" not in ended.err
        return (ended.out + ended.err).decode()

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.ours("status", "--app", "prog", "--json"))
        return told

    @property
    def token(self) -> Path:
        return self.spool / "wake"


@pytest.fixture
def developer(tmp_path: Path) -> Developer:
    return Developer(tmp_path)


def to(sink: Sink, more: str = "") -> str:
    return f"{{'destinations': {{'otlp': {sink.address!r}}}, {more}}}"


# What the foreground can't afford to look at: (keyword and value, what status says).
WRONG = {
    "a name": ("'schema': {'bad name': {}}", "schema: name 'bad name' is not"),
    "a type": ("'schema': {'a': {'why': 'x', 'fields': {'b': str}}}", "type of 'b' 'str' is not a list of choices"),
    "an object": ("'schema': {'a': {'why': 'x', 'fields': {'b': object()}}}", "settings must be plain values"),
    "a row": ("'schema': {'a': 'why'}", "schema: 'a': 'why' is not a dict"),
    "a list": ("'schema': ['a']", "schema ['a'] is not a dict"),
    "sender": ("'sender': 'foo'", "sender 'foo' is not 'detached', 'inline' or 'none'"),
    "consent": ("'consent': 'maybe'", "consent 'maybe' is not"),
    "version": ("'version': 1.4", "version 1.4 is not a version"),
    "destinations": ("'destinations': ['otlp']", "destinations is a list, not a dict"),
}


@pytest.mark.parametrize("which", WRONG)
def test_nothing_is_sent_until_the_settings_are_right(developer: Developer, sink: Sink, which: str) -> None:
    """Recorded, and waits; status and history say what is wrong; the next right release sends it all."""
    setting, says = WRONG[which]

    ended = developer.prog(to(sink, setting))

    assert (0, b"", b"") == (ended.status, ended.out, ended.err)
    assert [] == sink.told
    assert 1 == len(developer.files())
    assert says in developer.status()["not_before"]["why"]
    assert says in developer.ours("status", "--app", "prog")
    assert says in developer.ours("history", "--app", "prog")

    developer.prog(to(sink))

    assert 2 == len(sink.spans())
    assert [] == developer.files()
    assert "" == developer.status()["not_before"]["why"]


def test_a_class_in_a_text_stays_text(developer: Developer, sink: Sink) -> None:
    """Settings are handed over as text, in which ``bool`` is a class: a reason that mentions one is left alone."""
    why = "is <class 'bool'> enough, or \"<class 'str'>\"?"
    developer.prog(to(sink, f"'schema': {{'a': {{'why': {why!r}, 'fields': {{'b': bool}}}}}}"))

    assert 1 == len(sink.spans())


def test_an_unknown_consent_is_none(developer: Developer, sink: Sink) -> None:
    """``consent="maybe"`` records nothing unless the user says on of their own accord."""
    developer.prog(to(sink, "'consent': 'maybe'"), PROG_TELEMETRY=None)

    assert not (developer.home / "prog").exists()
    assert [] == sink.told


@pytest.mark.parametrize("setting", ["'sender': 'foo'", "'schema': {'a': {'fields': {'b': object()}}}"])
def test_wrong_settings_start_no_sender_over_and_over(developer: Developer, sink: Sink, setting: str) -> None:
    """The same settings again: hosts start no sender for an hour."""
    developer.prog(to(sink, setting))
    before = developer.token.stat()
    assert before.st_mtime > os.stat(developer.home).st_mtime + 3_000

    developer.prog(to(sink, setting))

    assert before.st_mtime == developer.token.stat().st_mtime
    assert 2 == len(developer.files())
    assert 1 == developer.ours("history", "--app", "prog").count("refused")


DESTINATIONS = {
    "unknown keyword": ("otlp", "{'endpoint': A, 'foo': 'k3y'}", "takes no 'foo'"),
    "protocol": ("otlp", "{'endpoint': A, 'protocol': 'xml'}", "protocol of 'otlp' is not 'http/protobuf' or 'grpc'"),
    "timeout": (
        "otlp",
        "{'endpoint': A, 'timeout': 3}",
        "takes no 'timeout'; did you mean 'timeout_s'? it takes endpoint",
    ),
    "timeout_s": ("otlp", "{'endpoint': A, 'timeout_s': 'soon'}", "timeout_s of 'otlp' is not a number"),
    "headers": ("otlp", "{'endpoint': A, 'headers': 'a=k3y'}", "headers of 'otlp' is not a dict"),
    "a number": ("otlp", "3", "destination 'otlp' is a int, not an endpoint or a dict"),
    "no such file": ("otlp", "{'endpoint': 'https://[::1]', 'certificate_file': '/k3y'}", ""),
    "ga4": ("ga4", "{'measurement_id': 'x', 'api_secret': 'k3y'}", "measurement_id can't be used"),
    "segment": ("segment", "{'write_key': 'k3y', 'endpoint': A, 'derived': 'perhaps'}", "derived can't be used"),
    "not installed": ("ga5", "A", "destination 'ga5' is not an installed exporter"),
}


@pytest.mark.parametrize("which", DESTINATIONS)
def test_a_wrong_destination_says_so(developer: Developer, sink: Sink, which: str) -> None:
    """Its records wait; status, history and preview say what is wrong, none of them shows a key."""
    name, told, says = DESTINATIONS[which]

    developer.prog(f"{{'destinations': {{{name!r}: {told.replace('A', repr(sink.address))}}}}}")

    assert [] == sink.told
    for verb in ("status", "history", "preview"):
        text = developer.ours(verb, "--app", "prog")
        assert says in text
        assert "k3y" not in text
    assert not any(b"k3y" in file.read_bytes() for file in (developer.home / "prog").rglob("*") if file.is_file())
    assert list((developer.spool / "queue" / name / "wait").iterdir())


def test_a_wrong_destination_holds_up_no_other(developer: Developer, sink: Sink) -> None:
    """Each has its queue: the other's records arrive."""
    developer.prog(f"{{'destinations': {{'otlp': {sink.address!r}, 'ga4': {{}}}}}}")

    assert 1 == len(sink.spans())
    assert "or until the settings change" in developer.ours("status", "--app", "prog")


def test_a_corrected_destination_gets_everything_at_the_next_run(developer: Developer, sink: Sink) -> None:
    """``derived="perhaps"``, then as it should be: no pause outlives the settings it was made for."""
    told = f"{{'destinations': {{'segment': {{'write_key': 'k', 'endpoint': {sink.address!r}, 'derived': %r}}}}}}"
    developer.prog(told % "perhaps")
    assert "segment: wrong settings: destination 'segment': derived" in developer.status()["not_before"]["why"]

    developer.prog(told % "false")

    assert sink.told
    assert not list((developer.spool / "queue" / "segment" / "wait").iterdir())
    assert {"time": None, "why": ""} == developer.status()["not_before"]


def test_preview_from_what_is_remembered(developer: Developer, sink: Sink) -> None:
    """``otel-usage preview`` shows the requests of a program whose key it does not know."""
    told = f"{{'destinations': {{'segment': {{'write_key': 'k3y', 'endpoint': {sink.address!r}, 'spans': 'usage'}}}}}}"
    developer.prog(told)
    developer.prog(told, OTEL_USAGE_SENDER="none")

    text = developer.ours("preview", "--app", "prog")

    assert f"segment, 1 record: POST {sink.address}/v1/batch" in text
    assert "k3y" not in text


@pytest.mark.parametrize("how", ["keyword", "variable"])
def test_a_destination_set_later_gets_everything_at_the_next_run(developer: Developer, sink: Sink, how: str) -> None:
    """First without any, then with one, in code or by the standard variable."""
    developer.prog("{}")
    assert "no destination is set" == developer.status()["not_before"]["why"]

    if how == "keyword":
        developer.prog(to(sink))
    else:
        developer.prog("{}", OTEL_EXPORTER_OTLP_ENDPOINT=sink.address)

    assert 2 == len(sink.spans())


@pytest.mark.parametrize("program", [("sh", "-c", "exit 3"), (sys.executable, "-c", "pass")], ids=["sh", "python"])
def test_run_without_a_destination_and_then_with_one(
    developer: Developer, sink: Sink, program: tuple[str, ...]
) -> None:
    """``otel-usage run -- prog``, then the same with OTEL_EXPORTER_OTLP_ENDPOINT."""
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.address}):
        developer.run("-m", "otel_usage.cli", "run", "--app", "prog", "--", *program, env=environ)
        until(lambda: developer.settled)

    assert 2 == len(sink.spans())


def test_log_mode_says_what_is_wrong(developer: Developer, sink: Sink) -> None:
    """Where the payload would be printed stands what keeps it from being sent, and no traceback."""
    ended = developer.prog(to(sink, "'sender': 'foo'"), PROG_TELEMETRY="log")

    assert b"prog telemetry, log mode: nothing would be sent, wrong settings: sender 'foo' is not" in ended.err
    assert b"Traceback" not in ended.err


def test_a_dead_endpoint_costs_a_run_no_module_more(developer: Developer, sink: Sink) -> None:
    """Only a pause for wrong settings is compared with the settings; the circuit breaker's is not."""
    address = sink.address
    sink.close()
    settings = f"{{'destinations': {{'otlp': {address!r}}}}}"
    developer.prog(settings)
    assert developer.token.stat().st_size == 0
    shows = "import atexit, sys\natexit.register(lambda: print('otel_usage.recording.fingerprint' in sys.modules))"

    ended = developer.run(shows + PROGRAM, env={"T_SETTINGS": settings})

    assert b"False\n" == ended.out
