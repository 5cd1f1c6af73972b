"""Sets of words: `otel_usage.several`, and what else services may record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import otel_usage
from otel_usage.schema.declaration import check_schema
from otel_usage.schema.fields import fit
from otel_usage.schema.records import check_fields, check_resource, check_span
from otel_usage.setting_error import SettingError

from ..hosts import Host

PLUGINS = otel_usage.several(["slack", "git", "discord"])
OPEN = otel_usage.several(["slack", "git", "other"])
SCHEMA: dict[str, Any] = {"alive": {"kind": "heartbeat", "why": "x", "fields": {"plugins": PLUGINS}}}
SECRET = "s3cret-plugin"


class Lying(list[str]):
    """A list that says something else than it holds."""

    def __iter__(self) -> Iterator[str]:
        return iter([SECRET])

    def __len__(self) -> int:
        return 10**9


class Slack(str):
    """A word that is equal to everything."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (["slack", "git"], ["git", "slack"]),
        ({"git"}, ["git"]),
        (("git", "git"), ["git"]),
        (frozenset(), []),
        (Lying(["git"]), ["git"]),
        (["git", SECRET], None),
        ([Slack(SECRET)], None),
        (["git", 1], None),
        ("git", None),
        ({"git": 1}, None),
        (None, None),
        (["git"] * 1_001, None),
    ],
)
def test_a_set_is_of_declared_words(value: object, recorded: object) -> None:
    """What is recorded is sorted, without repetitions, and of the declared words only."""
    assert recorded == fit(PLUGINS, value)


def test_other_stands_for_all_others() -> None:
    """Where ``other`` is declared, a word that is not becomes it."""
    assert ["git", "other"] == fit(OPEN, {"git", SECRET, "s3cret-2"})


@pytest.mark.parametrize(
    "declared",
    [
        ("several",),
        ("several", []),
        ("several", "git"),
        ("several", ["a b/../c\n"]),
        ("several", [1]),
        ("several", ["x"] * 101),
    ],
)
def test_wrong_declarations(declared: Any) -> None:
    """A set needs one to a hundred words."""
    with pytest.raises(SettingError, match=r"otel_usage\.several\(\)"):
        check_schema({"alive": {"kind": "heartbeat", "why": "x", "fields": {"plugins": declared}}})


def test_a_count_takes_no_set() -> None:
    """Each set that occurs would be a series of its own."""
    with pytest.raises(SettingError, match="possible for a count"):
        check_schema({"n": {"kind": "count", "why": "x", "fields": {"plugins": PLUGINS}}})


@pytest.mark.parametrize(
    ("words", "allowed"),
    [(["git", "slack"], True), ([], True), (["slack", "git"], False), (["git", "git"], False), ([SECRET], False)],
)
def test_the_sender_checks_again(words: list[str], allowed: bool) -> None:
    """What lies in a file is a sorted set of declared words, or does not leave."""
    assert ("" if allowed else "value") == check_fields(SCHEMA, "heartbeat", "alive", {"plugins": words})


def test_a_relay_without_schema_checks_words() -> None:
    """Lists of short plain words pass, of anything else they do not."""
    assert "" == check_fields(None, "heartbeat", "alive", {"plugins": ["git", "slack"]})
    for words in (["git", 1], [["git"]], ["x" * 65], ["git"] * 101, ["a\nb"]):
        assert "value" == check_fields(None, "heartbeat", "alive", {"plugins": words})


TIMES = {"startTimeUnixNano": "1", "endTimeUnixNano": "2", "kind": 1}
IDS = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"usage.kind": "start"}, ""),
        ({"usage.kind": "start", "usage.start": "upgrade", "usage.previous_version": "1.3.0"}, ""),
        ({"usage.kind": "stop"}, ""),
        ({"usage.kind": "crash", "error.type": "ValueError", "usage.frames": "0f1e2d3c4b5a6978"}, ""),
        ({"usage.kind": "crash", "usage.signal": "SIGSEGV"}, ""),
        ({"usage.kind": "start", "usage.start": "again"}, "value"),
        ({"usage.kind": "crash", "usage.frames": "main.py:3"}, "value"),
        ({"usage.kind": "crash", "usage.signal": SECRET}, "value"),
        ({"usage.kind": "stop", "usage.field.x": 1}, "attribute"),
        ({"usage.kind": "stop", "usage.start": "first"}, "attribute"),
    ],
)
def test_what_services_record(attributes: dict[str, object], reason: str) -> None:
    """Starts, stops and crashes hold what the table says, and no field."""
    span = {**IDS, **TIMES, "name": attributes["usage.kind"]}

    assert reason == check_span(span, attributes, SCHEMA, "svc")
    assert "attribute" == check_span({**span, "name": SECRET}, attributes, SCHEMA, "svc") or reason


def test_an_id_that_will_not_last() -> None:
    """Whether an id lasts is yes or no."""
    assert check_resource({"service.name": "svc", "app.installation.ephemeral": True})
    assert not check_resource({"service.name": "svc", "app.installation.ephemeral": "true"})


def test_a_program_records_a_set(host: Host) -> None:
    """A set passes from the program through its spool; an undeclared word is dropped and counted, and is in no byte."""
    ended = host.run(
        f"import otel_usage\nusage = otel_usage.init('prog', version='1', consent='opt-in', schema={SCHEMA!r})\n"
        f"usage.heartbeat('alive', plugins={{'slack', 'git'}})\nusage.heartbeat('alive', plugins=['{SECRET}'])\n"
        f"usage.count('alive', plugins=['git'])\n"
    )

    assert 0 == ended.status
    beats = [span.attributes for span in host.spans if span.attributes["usage.kind"] == "heartbeat"]
    assert [["git", "slack"], None] == [beat.get("usage.field.plugins") for beat in beats]
    assert not any(SECRET.encode() in path.read_bytes() for path in host.home.rglob("*") if path.is_file())
