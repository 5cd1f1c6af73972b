"""``otel-usage demo``: run real programs, and show what their maintainers would learn.

A receiver on this machine plays all backends, so that no account is needed. Every program runs as a user would start it,
with its state in a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..consent.notice import say
from ..control.sender_stop import stop_sender
from ..receiver.arrival import Arrival
from ..receiver.server import Listener
from ..receiver.vendors import VENDORS
from ..spool.layout import FORMAT, NEW, QUEUE
from .demo_page import show_page
from .demo_report import print_counters, print_ledgers, print_paragraph, print_spans, print_vendors, spans_of
from .demo_service import KINDS, run_service

# (program, arguments): what a user does in a morning, mistakes included.
RUNS: Sequence[tuple[str, Sequence[str]]] = (
    ("digest.py", ("make", "notes.txt", "secret-plan.txt")),
    ("digest.py", ("--algorithm", "md5", "verify", "notes.txt", "--expect", "my-own-sum")),
    ("digest.py", ("make", "missing.txt")),
    ("todo.py", ("add", "call", "the", "bank")),
    ("todo.py", ("add", "--first", "breathe")),
    ("todo.py", ("list",)),
    ("todo.py", ("done", "7")),
    ("todo.py", ("dne", "1")),
    ("units.py", ("convert", "3", "km", "mi", "--digits", "1")),
    ("units.py", ("convert", "3", "km", "kg")),
    ("units.py", ("table", "list")),
    ("units.py", ("--help",)),
)
TYPED_WORDS = (
    "secret-plan",
    "notes.txt",
    "missing",
    "bank",
    "breathe",
    "my-own-sum",
    "dne",
    "sesame",
    "kassim",
)  # private
NEEDS = {"todo.py": "click", "units.py": "typer"}  # what an example can't run without, and is no dependency of ours
DEADLINE_S = 60.0
COST_PAIRS = 7  # runs with telemetry and without, of which the cost is the median difference


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "demo",
        help="run real programs, and see what their maintainers would learn",
        description="Start a receiver on this machine, run three small programs (argparse, click, typer) and a service "
        "as a user would, and show what was recorded, what arrived, what it cost, and, with the extra [server], pages of it, "
        "which on a terminal stay until Ctrl-C. Needs no account and leaves nothing behind.",
    )
    parser.set_defaults(call=call)


def examples_folder() -> Path:
    """Return the folder of the example programs: in the checkout, or in the installed package."""
    root = Path(__file__).parent.parent
    return root / "examples" if (root / "examples").is_dir() else root.parent / "examples"


def call(args: argparse.Namespace) -> int:  # noqa: ARG001  every command's shape
    """Run the demonstration; 1 if not everything arrived."""
    if not hasattr(os, "posix_spawn"):
        say("otel-usage: the demo needs a system that can start a background process; this one can't\n")
        return 1
    arrivals: list[Arrival] = []
    server = Listener(0, arrivals.append)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = Path(tempfile.mkdtemp(prefix="otel-usage-demo-"))
    try:
        return _run_demo(folder, server, arrivals)
    finally:
        server.shutdown()
        server.server_close()
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the folder, whatever senders of the last runs are still writing there."""
    end_s = time.monotonic() + DEADLINE_S
    while folder.exists() and time.monotonic() < end_s:
        for spool in folder.glob(f"state/*/{FORMAT}"):
            stop_sender(str(spool))
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, address: str) -> dict[str, str]:
    """Return this process's variables, but with all destinations at *address*, and state in *folder*."""
    replaced = ("OTEL_", "DO_NOT_TRACK", "PYTHONDONTWRITEBYTECODE", "CI", "GITHUB_ACTIONS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(replaced)}
    environ.update(
        OTEL_USAGE_HOME=str(folder / "state"),
        OTEL_USAGE_SEND_DELAY_S="1",
        OTEL_USAGE_SENDER="detached",
        OTEL_TRACES_EXPORTER="otlp," + ",".join(VENDORS),
        OTEL_METRICS_EXPORTER="otlp," + ",".join(VENDORS),
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_GA4_ENDPOINT=address,
        OTEL_EXPORTER_GA4_MEASUREMENT_ID="G-DEMO000000",
        OTEL_EXPORTER_GA4_API_SECRET="no-secret-here",  # noqa: S106  the receiver is ours
        OTEL_EXPORTER_SEGMENT_ENDPOINT=address,
        OTEL_EXPORTER_SEGMENT_WRITE_KEY="no-key-here",
        OTEL_EXPORTER_POSTHOG_ENDPOINT=address,
        OTEL_EXPORTER_POSTHOG_API_KEY="phc_no_key_here",
        OTEL_EXPORTER_MIXPANEL_ENDPOINT=address,
        OTEL_EXPORTER_MIXPANEL_TOKEN="no-token-here",  # noqa: S106  the receiver is ours
        OTEL_EXPORTER_AMPLITUDE_ENDPOINT=address,
        OTEL_EXPORTER_AMPLITUDE_API_KEY="no-key-here",
        OTEL_EXPORTER_MATOMO_ENDPOINT=address,
        OTEL_EXPORTER_MATOMO_SITE_ID="1",
        OTEL_EXPORTER_PIWIK_PRO_ENDPOINT=address,
        OTEL_EXPORTER_PIWIK_PRO_SITE_ID="00000000-0000-4000-8000-000000000001",
        DIGEST_TELEMETRY="on",
        TODO_TELEMETRY="on",
        UNITS_TELEMETRY="on",
        BOT_TELEMETRY="on",
        COLUMNS="80",
    )
    return environ


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what sets up the programs: a server would take it for its own."""
    return {name: value for name, value in environ.items() if not name.startswith("OTEL_")}


def _run_demo(folder: Path, server: Listener, arrivals: list[Arrival]) -> int:
    work = folder / "work"
    work.mkdir()
    (work / "notes.txt").write_text("remember the milk\n")
    (work / "secret-plan.txt").write_text("x" * 2_000_000)
    environ = _environment(folder, server.address)
    print_paragraph(f"A receiver on {server.address} plays an OTLP backend, and {', '.join(VENDORS)}.")
    planned = _runnable()
    _run_programs(planned, work, environ)
    run_service(examples_folder() / "bot.py", work, environ)
    spans = _await_spans(len(planned), folder, arrivals)
    print_spans(spans)
    print_counters(arrivals)
    problems = print_vendors(arrivals)
    leaked = _print_leaks(arrivals)
    print_ledgers(folder / "state")
    _print_cost(work, environ)
    runs = sum(span["kind"] == "run" for span in spans)
    served = {span["kind"] for span in spans} >= KINDS
    complete = runs == len(planned) and served and not leaked and not problems
    if complete:
        print_paragraph(f"\n{runs} of {len(planned)} runs arrived, once each; and the service's start, work and end.")
    else:
        print_paragraph(f"\n{runs} of {len(planned)} runs arrived; something is wrong: see above.")
    shown = show_page(arrivals, folder, _without_settings(environ), runs=runs)
    return 0 if complete and shown else 1


def _runnable() -> list[tuple[str, Sequence[str]]]:
    """Return the `RUNS` whose programs find what they need here, and print which are left out."""
    missing = {program: module for program, module in NEEDS.items() if importlib.util.find_spec(module) is None}
    if missing:
        without = " and ".join(f"{program.removesuffix('.py')} (needs {module})" for program, module in missing.items())
        print_paragraph(
            f"Left out: {without}. To see all: {sys.executable} -m pip install {' '.join(missing.values())}"
        )
    return [(program, words) for program, words in RUNS if program not in missing]


def _run_programs(planned: Sequence[tuple[str, Sequence[str]]], work: Path, environ: Mapping[str, str]) -> None:
    """Run the programs in the folder *work*, and print what a user would have typed."""
    programs = len({program for program, _ in planned})
    print_paragraph(f"{programs} program{'s' if programs > 1 else ''}, one line of ours in each; what a user types:\n")
    for program, words in planned:
        command = [sys.executable, str(examples_folder() / program), *words]
        ended = subprocess.run(command, cwd=work, env=environ, capture_output=True, check=False)
        print_paragraph(f"  $ {program.removesuffix('.py')} {' '.join(words)}".ljust(74) + f"exit {ended.returncode}")


def _await_spans(runs: int, folder: Path, arrivals: Sequence[Arrival]) -> list[dict[str, Any]]:
    """Wait until that many runs have arrived and nothing waits to be sent, or until `DEADLINE_S`; return the spans."""
    start_s = time.monotonic()
    print("\nNobody waited for the network. The sender works in the background …", end="", flush=True)
    spans: dict[str, dict[str, Any]] = {}
    while time.monotonic() - start_s < DEADLINE_S:
        spans = {span["spanId"]: span for arrival in list(arrivals) for span in spans_of(arrival)}
        kinds = [span["kind"] for span in spans.values()]
        if kinds.count("run") >= runs and {*kinds} >= KINDS and not _anything_waits(folder):
            break
        time.sleep(0.05)
    print_paragraph(f" done after {time.monotonic() - start_s:.1f} s.\n")
    return sorted(spans.values(), key=lambda span: int(span["start"]))


def _anything_waits(folder: Path) -> bool:
    """True while records of any program wait to be sent: files in its ``new/``, or in a queue's ``wait/`` or ``flight/``."""
    state = folder / "state"
    return any(state.glob(f"*/{FORMAT}/{NEW}/*")) or any(state.glob(f"*/{FORMAT}/{QUEUE}/*/*/*"))


def _print_leaks(arrivals: Sequence[Arrival]) -> list[str]:
    """Print, and return, which words that users typed are anywhere in what arrived: none should be."""
    text = "".join(repr(arrival.body) for arrival in arrivals)
    leaked = [word for word in TYPED_WORDS if word in text]
    print_paragraph(
        "\nWhat users typed and the programs do not declare (file names, amounts, words) is nowhere in it: "
        + ("searched, not found." if not leaked else f"FOUND {leaked}")
    )
    return leaked


def _print_cost(work: Path, environ: Mapping[str, str]) -> None:
    """Run one program with telemetry off and on, by turns, and print the difference in wall time."""
    command = [sys.executable, str(examples_folder() / "digest.py"), "make", "notes.txt"]
    times_ms: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(COST_PAIRS):
        for mode, taken_ms in times_ms.items():
            start_s = time.perf_counter()
            subprocess.run(
                command, cwd=work, env={**environ, "DIGEST_TELEMETRY": mode}, capture_output=True, check=False
            )
            taken_ms.append((time.perf_counter() - start_s) * 1000)
    off_ms = statistics.median(times_ms["off"])
    added_ms = statistics.median(on - off for on, off in zip(times_ms["on"], times_ms["off"], strict=True))
    print_paragraph(
        f"\nWhat it cost: `digest make notes.txt` takes {off_ms:.1f} ms with telemetry off and {added_ms:+.1f} ms more with "
        f"it on\n(medians of {COST_PAIRS} paired runs on this machine; `make bench` counts instructions)."
    )
