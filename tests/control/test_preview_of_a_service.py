"""A service's preview has what its sender would add, and no more: the cluster, and no first run."""

from __future__ import annotations

import json

import pytest

from otel_usage.control.app import App

from ..spools import Spool


@pytest.mark.parametrize("wanted", ["on", ""])
def test_the_cluster_and_no_first_run(spool: Spool, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """The cluster's id is what a sender has asked for, if it is wanted; a service says by its start whether it is the first."""
    (spool.home / "id").unlink()
    (spool.home / "cluster").write_text("0e6b4c1e-7f5b-5b0e-9d9a-3f1f0c2d4e5f\n")
    monkeypatch.setenv("PROG_CLUSTER_IDENTITY", wanted)
    spool.settings["service"] = True
    spool.run()

    shown = json.dumps(App("prog", spool.settings).preview().json())

    assert bool(wanted) == ("0e6b4c1e-7f5b-5b0e-9d9a-3f1f0c2d4e5f" in shown)
    assert "report upload" in shown
    assert "first_run" not in shown


def test_log_mode_has_the_cluster(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it would be sent."""
    import sys

    from otel_usage.delivery.rehearsal import print_requests

    from ..spools import run_line

    (spool.home / "cluster").write_text("0e6b4c1e-7f5b-5b0e-9d9a-3f1f0c2d4e5f\n")
    monkeypatch.setenv("PROG_CLUSTER_IDENTITY", "true")

    print_requests({**spool.settings, "service": True, "lines": [run_line()[2]]}, sys.stdout)

    assert "0e6b4c1e-7f5b-5b0e-9d9a-3f1f0c2d4e5f" in capsys.readouterr().out
