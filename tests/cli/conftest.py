"""What the command's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """What the programs write into their working directory is not left in ours."""
    monkeypatch.chdir(tmp_path)
