"""Paths that docs/relay.md named in 0.1 still lead to what they led to."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

PATHS = [
    ("otel_usage.relay.app.make_app", "otel_usage.server.app.make_app"),
    ("otel_usage.relay.app.Settings", "otel_usage.server.options.Options"),
    ("otel_usage.relay.destination.load", "otel_usage.server.workers.load_destination"),
]


def resolve(path: str) -> Any:
    """Return what the dotted *path* names. Any: whatever it is."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("former", "present"), PATHS)
def test_a_former_path_leads_to_the_same(former: str, present: str) -> None:
    """Imported either way it is one object, so that what is made by one path is accepted by the other."""
    assert resolve(present) is resolve(former)


@pytest.mark.parametrize("former", ["otel_usage.relay", "otel_usage.relay.app", "otel_usage.relay.destination"])
def test_a_former_module_says_until_when(former: str) -> None:
    """Each says when it will be removed."""
    text = importlib.import_module(former).__doc__ or ""

    assert "To be removed with the release after 0.2." in text


def test_the_documentation_names_the_present_paths() -> None:
    """docs/relay.md names the present paths in full, and no former one."""
    text = (Path(__file__).parents[2] / "docs" / "relay.md").read_text(encoding="utf-8")

    assert "otel_usage.relay" not in text
    assert [] == [present for _, present in PATHS if present not in text]


def test_an_application_is_made_by_former_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program written for 0.1 makes its application as before."""
    from otel_usage.relay.app import Settings, make_app
    from otel_usage.relay.destination import load

    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_WRITE_KEY", "wr1tekey")
    destination = load("segment", window=10, workers=1)
    app = make_app([destination], Settings(waiting=2))
    destination.close()

    assert ["segment"] == list(app.state.relay.destinations)
