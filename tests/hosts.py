"""Start small host programs as a user would, and read what they left on disk.

A host gets a temporary OTEL_USAGE_HOME and an environment that says nothing about telemetry but what the test says.
Faults that the foreground swallows are written down in ``debug/faults.log``: a test that causes one fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.cell_intake import read_cells
from otel_usage.spool.files import list_abandoned

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: programs would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "programs"
APP = "prog"
INTERPRETERS = [sys.executable] + [
    str(found)
    for version in ("3.10", "3.11", "3.12", "3.13", "3.14")
    for found in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))[-1:]
    if version != f"{sys.version_info[0]}.{sys.version_info[1]}"
]


def version_of(interpreter: str) -> str:
    """Return a short name of *interpreter* for test ids."""
    return "venv" if interpreter == sys.executable else Path(interpreter).parts[-3]


@dataclass
class Ended:
    """What the parent process sees of a host program that ended."""

    status: int
    out: bytes
    err: bytes


def value(typed: dict[str, Any]) -> Any:
    """Return an OTLP JSON AnyValue as Python has it."""
    ((kind, inner),) = typed.items()
    if kind == "arrayValue":
        return [value(item) for item in inner.get("values", [])]
    return int(inner) if kind == "intValue" else inner


def attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OTLP JSON KeyValues as a dict; a key that comes twice is an error."""
    found = {pair["key"]: value(pair["value"]) for pair in pairs}
    assert len(found) == len(pairs)
    return found


@dataclass
class Span:
    """One recorded span, its attributes as a dict."""

    name: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    ids: tuple[str, str, str]
    start_ns: int
    end_ns: int

    @property
    def ending(self) -> tuple[int | None, str, str | None]:
        """Exit code, outcome, error type."""
        a = self.attributes
        return a.get("process.exit.code"), a["usage.outcome"], a.get("error.type")

    @property
    def command(self) -> str:
        return str(self.attributes["usage.command"])

    @property
    def options(self) -> list[str]:
        return list(self.attributes["usage.options"])


def spans_in(path: Path) -> Iterator[Span]:
    """Yield the spans of one spool file. Every line must be whole."""
    raw = path.read_bytes()
    assert not raw or raw.endswith(b"\n")
    for line in raw.splitlines():
        for group in json.loads(line)["resourceSpans"]:
            for scope in group["scopeSpans"]:
                for span in scope["spans"]:
                    yield Span(
                        span["name"],
                        attributes(span["attributes"]),
                        attributes(group["resource"]["attributes"]),
                        span["status"].get("code") == 2,
                        (span["traceId"], span["spanId"], span.get("parentSpanId", "")),
                        int(span["startTimeUnixNano"]),
                        int(span["endTimeUnixNano"]),
                    )


def points_in(path: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (name, attributes, n) of each data point of one spool file."""
    for line in path.read_bytes().splitlines():
        for group in json.loads(line)["resourceMetrics"]:
            for scope in group["scopeMetrics"]:
                for metric in scope["metrics"]:
                    for point in metric["sum"]["dataPoints"]:
                        yield metric["name"], attributes(point["attributes"]), int(point["asInt"])


def cells_in(path: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (name, attributes, n) of each cell of one file, but for those that nothing was added to."""
    cells = read_cells(path.read_bytes())
    for name, n in zip(cells.names, cells.totals, strict=True):
        if n:
            yield name["name"], attributes(name["attributes"]), n


def until(found: Callable[[], Any], deadline_s: float = 20.0) -> Any:
    """Return what *found* returns as soon as it is true."""
    end = time.monotonic() + deadline_s
    while not (result := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return result


@dataclass
class Host:
    """A machine with one user, on which programs are run."""

    tmp: Path
    app: str = APP
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.tmp / "state"
        (self.home / "debug").mkdir(parents=True)
        (self.tmp / "user").mkdir()
        (self.tmp / "work").mkdir()
        keep = {name: os.environ[name] for name in ("PATH", "TMPDIR", "COVERAGE_PROCESS_START") if name in os.environ}
        self.environ = {
            **keep,
            "HOME": str(self.tmp / "user"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "80",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{PROGRAMS}",
            "OTEL_USAGE_HOME": str(self.home),
            "OTEL_USAGE_SENDER": "none",
            f"{self.app.upper()}_TELEMETRY": "on",
        }

    @property
    def faults(self) -> str:
        log = self.home / "debug" / "faults.log"
        return log.read_text() if log.exists() else ""

    @property
    def spool(self) -> Path:
        return self.home / self.app / "1"

    def command(
        self, program: str, argv: tuple[str, ...], python: str = sys.executable, flags: tuple[str, ...] = ()
    ) -> list[str]:
        """Return the command line that runs *program*: a file of tests/programs, or source code."""
        if program in ("-m", "-c"):
            return [python, *flags, program, *argv]
        if "\n" not in program and program.endswith(".py"):
            file = PROGRAMS / program
        else:
            file = self.tmp / "work" / "host.py"
            if not file.exists() or file.read_text() != program:  # another process may be reading it
                file.write_text(program)
        return [python, *flags, str(file), *argv]

    def start(
        self,
        program: str,
        *argv: str,
        python: str = sys.executable,
        flags: tuple[str, ...] = (),
        env: dict[str, str | None] | None = None,
        **popen: Any,
    ) -> subprocess.Popen[bytes]:
        """Start *program*, its streams pipes unless *popen* says otherwise."""
        environ = {**self.environ, **(env or {})}
        for stream in ("stdin", "stdout", "stderr"):
            popen.setdefault(stream, subprocess.DEVNULL if stream == "stdin" else subprocess.PIPE)
        popen.setdefault("cwd", self.tmp / "work")
        return subprocess.Popen(
            self.command(program, argv, python, flags),
            env={name: value for name, value in environ.items() if value is not None},
            **popen,
        )

    def run(self, program: str, *argv: str, **options: Any) -> Ended:
        """Run *program* to its end."""
        process = self.start(program, *argv, **options)
        out, err = process.communicate(timeout=60)
        return Ended(process.returncode, out or b"", err or b"")

    def files(self, folder: str = "new", suffix: str = "") -> list[Path]:
        """Return the spool's files, oldest first."""
        at = self.spool / folder
        return sorted(p for p in at.iterdir() if p.name.endswith(suffix)) if at.exists() else []

    @property
    def spans(self) -> list[Span]:
        """Every span that waits for the sender."""
        return [span for file in self.files("new", ".traces.jsonl") for span in spans_in(file)]

    @property
    def runs(self) -> list[Span]:
        return [span for span in self.spans if span.attributes["usage.kind"] == "run"]

    @property
    def the_run(self) -> Span:
        """The only run recorded."""
        assert 1 == len(self.runs), (self.runs, self.faults)
        return self.runs[0]

    @property
    def stubs(self) -> list[Span]:
        """What will be reported of runs that did not end by themselves."""
        return [span for file in self.files("open", ".traces.jsonl") for span in spans_in(file)]

    @property
    def counts(self) -> dict[tuple[str, tuple[tuple[str, Any], ...]], int]:
        """The sum of every counter that waits for the sender."""
        sums: dict[tuple[str, tuple[tuple[str, Any], ...]], int] = {}
        points = [point for file in self.files("new", ".metrics.jsonl") for point in points_in(file)]
        whole = [file for file in self.files("cells", ".cells") if not file.name.startswith(".")]
        for name, pairs, n in points + [point for file in whole for point in cells_in(file)]:
            key = (name, tuple(sorted(pairs.items())))
            sums[key] = sums.get(key, 0) + n
        return sums

    def adopt(self) -> None:
        """Take what dead processes left, as the next sender does."""
        for name in list_abandoned(str(self.spool)):
            os.rename(self.spool / "open" / name, self.spool / "new" / name)

    def clear(self) -> None:
        """Forget what was recorded, as if nothing had ever run."""
        shutil.rmtree(self.home / self.app, ignore_errors=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A fresh machine. Fails the test if the foreground swallowed a fault of its own."""
    made = Host(tmp_path)
    yield made
    assert "" == made.faults
