"""An installation that is new says so once, to every destination, and in none of its later lives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from otel_usage.delivery import first_run
from otel_usage.delivery.installation_id import obtain_installation_id
from tests.exporters.servers import Receiver, events

from ..spools import Sink, Spool, run_line


@pytest.fixture
def new(spool: Spool) -> Spool:
    """A spool whose installation has no id yet."""
    (spool.home / "id").unlink()
    return spool


def kinds(sink: Sink) -> list[str]:
    """Return the kinds of the spans that came, oldest first."""
    return [
        span["attributes"]["usage.kind"]
        for span in sorted(sink.spans(first_runs=True), key=lambda s: int(s["endTimeUnixNano"]))
    ]


def test_once_per_installation(new: Spool, sink: Sink) -> None:
    """With the first run, and of its time; not with the next, nor when the id is renewed; again after a reset."""
    start_ns = time.time_ns() - 60 * 10**9
    new.put(run_line(start_ns=start_ns)[2], name=f"{start_ns:016x}-1.traces.jsonl")
    new.drain()
    new.run()
    new.drain()
    assert ["first_run", "run", "run"] == kinds(sink)
    (first, run) = sorted(sink.spans(first_runs=True)[:2], key=lambda span: span["name"])
    assert (str(start_ns), "first_run") == (first["startTimeUnixNano"], first["name"])
    assert {"usage.kind": "first_run"} == first["attributes"]
    assert run["resource"].keys() - {"process.runtime.name"} <= first["resource"].keys()

    file = new.home / "id"
    file.write_text(f"{file.read_text().split()[0]} {int(time.time()) - 366 * 86400}\n")
    new.run()
    new.drain()
    assert 1 == kinds(sink).count("first_run")

    file.unlink()  # reset-id
    new.run()
    new.drain()
    assert 2 == kinds(sink).count("first_run")
    assert [] == new.files()


def test_not_in_ci_and_not_without_a_run(new: Spool, sink: Sink) -> None:
    """A container installs nothing; and where nothing is sent no id is made."""
    new.drain()
    assert not (new.home / "id").exists()

    new.settings["ci"] = "github"
    new.run()
    new.drain()
    assert (["run"], False) == (kinds(sink), (new.home / "id").exists())


def test_a_sender_that_dies_says_it_neither_twice_nor_never(
    new: Spool, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the record and the id, which are the two things that it writes."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    new.run()
    with monkeypatch.context() as patch:
        patch.setattr("otel_usage.delivery.installation_id.obtain_installation", die)
        with pytest.raises(KeyboardInterrupt):
            new.drain()
    new.run()
    new.drain()

    assert ["first_run", "run", "run"] == sorted(kinds(sink))
    assert first_run.ENDING.endswith(".traces.jsonl")
    assert obtain_installation_id(str(new.home)) == sink.spans(first_runs=True)[0]["resource"]["app.installation.id"]


@pytest.fixture
def ga4() -> Iterator[Receiver]:
    receiver = Receiver((204, {}, b""))
    yield receiver
    receiver.close()


def test_what_ga4_gets(new: Spool, ga4: Receiver) -> None:
    """One event, before the run, and the week of it as a property of the user."""
    new.settings["destinations"] = {
        "ga4": {"measurement_id": "G-AB12CD", "api_secret": "x", "endpoint": ga4.url},
    }
    new.run()
    new.drain()

    assert ["command_run", "first_run"] == sorted(event["name"] for event in events(ga4))
    properties = json.loads(ga4.requests[0][2])["user_properties"]
    assert time.strftime("%G-W%V", time.gmtime()) == properties["first_week"]["value"]
