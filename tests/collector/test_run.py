"""run.sh and build.sh: what an operator gets wrong is said at once, and never means more than was asked for."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.collector.harness import CONFIG, binary


def ran(script: str, *arguments: str, **environ: str) -> tuple[int, str]:
    """Return (exit code, what it said) of a script of collector-config."""
    command = ["sh", CONFIG / script, *arguments]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("path", ["/tmp", "/nonexistent", "/etc/passwd"])
def test_a_collector_that_is_none_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTELCOL is a program, or everything that was told to use it fails: build.sh, and these tests."""
    monkeypatch.setenv("OTELCOL", path)

    assert (2, f"build.sh: OTELCOL={path} is not a program\n") == ran("build.sh", OTELCOL=path)
    with pytest.raises(ValueError, match=f"OTELCOL='{path}' is not a program"):
        binary()
