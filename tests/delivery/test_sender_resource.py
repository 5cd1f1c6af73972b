"""What the sender adds to a run: its resource, its counters, and the installation's id."""

from __future__ import annotations

import time

from otel_usage.delivery.resource import iso_week

from ..spools import Sink, Spool


def test_a_run_arrives_with_what_the_sender_knows(spool: Spool, sink: Sink) -> None:
    """The span keeps its ids and attributes, and its resource gains identity and system, nothing of the machine's own."""
    own = spool.run()

    spool.drain()

    (span,) = sink.spans()
    assert own == span["spanId"]
    assert "prog report upload" == span["name"]
    assert {
        "service.name", "service.version", "app.installation.id", "usage.first_week", "os.type", "os.version", "host.arch",
        "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version",
    } == set(span["resource"])  # fmt: skip
    assert [] == spool.files()


def test_run_counters_come_from_the_spans(spool: Spool, sink: Sink) -> None:
    """Counters say what the spans say."""
    for command in ("a", "a", "b"):
        spool.run(command=command)

    spool.drain()

    assert {("usage.runs", "a success"): 2, ("usage.runs", "b success"): 1} == sink.points()


def test_the_installation_id_stays_and_is_renewed(spool: Spool, sink: Sink) -> None:
    """One id per installation, a new one after a year or when the file is gone."""
    ids = []
    for change in (None, None, "old", "gone"):
        file = spool.home / "id"
        if change == "old":
            file.write_text(f"{ids[-1]} {int(time.time()) - 366 * 86400}\n")
        if change == "gone":
            file.unlink()
        spool.run()
        spool.drain()
        ids.append(sink.spans()[-1]["resource"]["app.installation.id"])

    assert ids[0] == ids[1]
    assert 3 == len(set(ids))


def test_the_first_week_stays_when_the_id_is_renewed_and_not_when_it_is_reset(spool: Spool, sink: Sink) -> None:
    """A renewed id is of the same installation; one that somebody asked for is of a new one."""
    file, weeks, ids = spool.home / "id", [], []
    first_s = 1_767_605_400  # 2026-01-05
    for change in ("renewed", "", "renewed", "reset"):
        if change == "renewed":
            generated_s = int(time.time()) - 366 * 86400
            file.write_text(f"5a1c0b58-3f0e-4c8f-9d3b-7d2f2f0f6a11 {generated_s} {min(first_s, generated_s)}\n")
        if change == "reset":
            file.unlink()
        spool.run()
        spool.drain()
        resource = sink.spans()[-1]["resource"]
        weeks.append(resource["usage.first_week"])
        ids.append(resource["app.installation.id"])

    before, now = iso_week(min(first_s, time.time() - 366 * 86400)), iso_week(time.time())
    assert [before, before, before, now] == weeks
    assert (True, 3) == (ids[0] == ids[1], len(set(ids)))


def test_ci_runs_share_one_identity(spool: Spool, sink: Sink) -> None:
    """Every CI job is a new machine: they count as their vendor, and no id is made."""
    spool.settings["ci"] = "github"
    (spool.home / "id").unlink()
    spool.run()

    spool.drain()

    assert "github" == sink.spans()[0]["resource"]["usage.ci_system"]
    assert not {"app.installation.id", "usage.first_week"} & set(sink.spans()[0]["resource"])
    assert not (spool.home / "id").exists()
