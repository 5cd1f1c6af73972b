"""What the sender adds to a run: its resource, its counters, and the installation's id."""

from __future__ import annotations

import time

from ..spools import Sink, Spool


def test_a_run_arrives_with_what_the_sender_knows(spool: Spool, sink: Sink) -> None:
    """The span keeps its ids and attributes, and its resource gains identity and system, nothing of the machine's own."""
    own = spool.run()

    spool.drain()

    (span,) = sink.spans()
    assert own == span["spanId"]
    assert "prog report upload" == span["name"]
    assert {
        "service.name", "service.version", "app.installation.id", "os.type", "os.version", "host.arch",
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


def test_ci_runs_share_one_identity(spool: Spool, sink: Sink) -> None:
    """Every CI job is a new machine: they count as their vendor, and no id is made."""
    spool.settings["ci"] = "github"
    spool.run()

    spool.drain()

    assert "ci.github" == sink.spans()[0]["resource"]["app.installation.id"]
    assert not (spool.home / "id").exists()
