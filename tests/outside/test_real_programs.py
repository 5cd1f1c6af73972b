"""Real programs, with us and without: some of those that the tests' own environment has; all of them by `make bench-outside`."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ..spools import Sink
from .real_programs import CASES, WAYS, Case, Machine, Result, can_run, read_cases

# Those that are in the tests' own environment and quick: a run of each.
QUICK = {
    "cyclopts": "tree tool.py --max-depth 1",
    "django-admin": "startproject secretproject",
    "inv": "secret-build --fast",
}
DECLARED = [*read_cases(CASES.read_text(encoding="utf-8"))]


def judge(case: Case, way: str, folder: Path) -> Result:
    with closing(Sink()) as sink:
        return Machine(folder, way, sink).judge(case)


def test_forty_programs_and_more() -> None:
    """What is promised of real programs is shown on so many."""
    assert len({case.program for case in DECLARED}) >= 40
    assert len(DECLARED) >= 250


@pytest.mark.parametrize("way", ["run", "instrument"])
@pytest.mark.parametrize("program", QUICK)
def test_a_run_of_a_real_program(tmp_path: Path, program: str, way: str) -> None:
    """It prints, leaves and returns what it does without us, and what is recorded is what it truly was."""
    (case,) = [replace(case, environment="-") for case in DECLARED if QUICK[program] == case.words]
    if not can_run(case, way):
        pytest.skip("not to be had for this Python")

    result = judge(case, way, tmp_path)

    assert all(result.judged.values()), str(result)


@pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", [*dict.fromkeys(case.program for case in DECLARED)])
def test_all_runs_of_a_real_program(tmp_path: Path, program: str, way: str) -> None:
    """Unchanged, each run one record, no typed word, and no wrong exit code. How much else is right the benchmark counts."""
    cases = [case for case in DECLARED if case.program == program and can_run(case, way)]
    if not cases:
        pytest.skip("make programs")
    wrong = []

    for at, case in enumerate(cases):
        result = judge(case, way, tmp_path / str(at))
        right = result.judged
        if not (right["unchanged"] and right["no typed word"] and right["one run"]) or right["code"] is False:
            wrong.append(str(result))

    assert [] == wrong
