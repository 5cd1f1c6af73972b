"""``otel-usage demo``: run real programs, and show what their maintainers would learn.

Ring 1 (background).
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

from ..ledger import Ledger
from ..otlp import attributes_of
from .listen import Arrival, Listener

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
NEEDS = {"todo.py": "click", "units.py": "typer"}  # what an example can't run without, and is no dependency of ours
DEADLINE_S = 60.0
PAIRS = 7


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "demo",
        help="run real programs, and see what their maintainers would learn",
        description="Start a receiver on this machine, run three small programs (argparse, click, typer) as a user "
        "would, and show what was recorded, what arrived, and what it cost. Needs no account and leaves nothing behind.",
    )
    told.set_defaults(call=call)


def examples() -> Path:
    """Return the folder of the example programs: in the checkout, or in the installed package."""
    root = Path(__file__).parent.parent
    return root / "examples" if (root / "examples").is_dir() else root.parent / "examples"


def call(told: argparse.Namespace) -> int:  # noqa: ARG001  every command's shape
    """Run the demonstration; 1 if not everything arrived."""
    if not hasattr(os, "posix_spawn"):
        print(
            "otel-usage: the demo needs a system that can start a background process; this one can't", file=sys.stderr
        )
        return 1
    arrivals: list[Arrival] = []
    server = Listener(0, arrivals.append)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = Path(tempfile.mkdtemp(prefix="otel-usage-demo-"))
    try:
        return _demo(folder, server, arrivals)
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, address: str) -> dict[str, str]:
    other = ("OTEL_", "DO_NOT_TRACK", "PYTHONDONTWRITEBYTECODE", "CI", "GITHUB_ACTIONS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    environ.update(
        OTEL_USAGE_HOME=str(folder / "state"),
        OTEL_USAGE_SEND_DELAY_S="1",
        OTEL_USAGE_SENDER="detached",
        OTEL_TRACES_EXPORTER="otlp,ga4,segment",
        OTEL_METRICS_EXPORTER="otlp,ga4,segment",
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_GA4_ENDPOINT=address,
        OTEL_EXPORTER_GA4_MEASUREMENT_ID="G-DEMO000000",
        OTEL_EXPORTER_GA4_API_SECRET="no-secret-here",  # noqa: S106  the receiver is ours
        OTEL_EXPORTER_SEGMENT_ENDPOINT=address,
        OTEL_EXPORTER_SEGMENT_WRITE_KEY="no-key-here",
        DIGEST_TELEMETRY="on",
        TODO_TELEMETRY="on",
        UNITS_TELEMETRY="on",
        COLUMNS="80",
    )
    return environ


def _demo(folder: Path, server: Listener, arrivals: list[Arrival]) -> int:
    work = folder / "work"
    work.mkdir()
    (work / "notes.txt").write_text("remember the milk\n")
    (work / "secret-plan.txt").write_text("x" * 2_000_000)
    environ = _environment(folder, server.address)
    missing = {program: needed for program, needed in NEEDS.items() if importlib.util.find_spec(needed) is None}
    planned = [(program, words) for program, words in RUNS if program not in missing]
    print(f"A receiver on {server.address} plays an OTLP backend, Google Analytics 4 and Segment.")
    if missing:
        without = " and ".join(f"{program.removesuffix('.py')} (needs {needed})" for program, needed in missing.items())
        print(f"Left out: {without}. To see all: {sys.executable} -m pip install {' '.join(missing.values())}")
    programs = len({program for program, _ in planned})
    print(f"{programs} program{'s' if programs > 1 else ''}, one line of ours in each; what a user types:\n")
    codes = []
    for program, words in planned:
        ended = subprocess.run(
            [sys.executable, str(examples() / program), *words], cwd=work, env=environ, capture_output=True, check=False
        )
        codes.append(ended.returncode)
        print(f"  $ {program.removesuffix('.py')} {' '.join(words)}".ljust(74) + f"exit {ended.returncode}")

    started = time.monotonic()
    print("\nNobody waited for the network. The sender works in the background …", end="", flush=True)
    spans: dict[str, dict[str, Any]] = {}
    while time.monotonic() - started < DEADLINE_S:
        spans = {span["spanId"]: span for arrival in list(arrivals) for span in _spans(arrival)}
        if sum(span["kind"] == "run" for span in spans.values()) >= len(planned) and not _waiting(folder):
            break
        time.sleep(0.05)
    print(f" done after {time.monotonic() - started:.1f} s.\n")

    print("What arrived, one span per run, and one per action or error inside it:\n")
    _table(
        ("program", "command", "outcome", "exit", "options", "error"),
        [span["row"] for span in sorted(spans.values(), key=lambda span: int(span["start"])) if span["kind"] == "run"],
    )
    print()
    _table(
        ("program", "what", "name", "fields"),
        [span["row"] for span in sorted(spans.values(), key=lambda span: int(span["start"])) if span["kind"] != "run"],
    )
    print("\nand as counters:\n")
    _table(("program", "counter", "value", "of"), _counters(arrivals))
    invalid = _vendors(arrivals)
    runs = sum(span["kind"] == "run" for span in spans.values())
    text = "".join(repr(arrival.body) for arrival in arrivals)
    print("\nWhat users typed and the programs do not declare (file names, amounts, words) is nowhere in it: ", end="")
    leaked = [
        word for word in ("secret-plan", "notes.txt", "missing", "bank", "breathe", "my-own-sum", "dne") if word in text
    ]
    print("searched, not found." if not leaked else f"FOUND {leaked}")
    _ledgers(folder)
    _cost(work, environ)
    complete = runs == len(planned) and not leaked and not invalid
    if complete:
        print(f"\n{runs} of {len(planned)} runs arrived, once each.")
    else:
        print(f"\n{runs} of {len(planned)} runs arrived; something is wrong: see above.")
    return 0 if complete else 1


def _waiting(folder: Path) -> bool:
    return any((folder / "state").glob("*/1/new/*")) or any((folder / "state").glob("*/1/queue/*/*/*"))


def _spans(arrival: Arrival) -> list[dict[str, Any]]:
    rows = []
    for group in arrival.body.get("resourceSpans", ()) if arrival.kind == "otlp" else ():
        program = attributes_of(group["resource"]["attributes"]).get("service.name", "")
        for scoped in group["scopeSpans"]:
            for span in scoped["spans"]:
                told = attributes_of(span["attributes"])
                kind = told.get("usage.kind", "")
                row: tuple[object, ...]
                if kind == "run":
                    row = (
                        program,
                        told["usage.command"],
                        told["usage.outcome"],
                        told.get("process.exit.code", "?"),
                        " ".join(told.get("usage.options", ())),
                        told.get("error.type", ""),
                    )
                else:
                    fields = [f"{key[12:]}={value}" for key, value in told.items() if key.startswith("usage.field.")]
                    row = (program, kind, span["name"], " ".join(fields))
                rows.append({"spanId": span["spanId"], "kind": kind, "start": span["startTimeUnixNano"], "row": row})
    return rows


def _counters(arrivals: Sequence[Arrival]) -> list[tuple[str, ...]]:
    totals: dict[tuple[str, str, str], int] = {}
    for arrival in arrivals:
        for group in arrival.body.get("resourceMetrics", ()) if arrival.kind == "otlp" else ():
            program = attributes_of(group["resource"]["attributes"]).get("service.name", "")
            for scoped in group["scopeMetrics"]:
                for metric in scoped["metrics"]:
                    for point in metric.get("sum", {}).get("dataPoints", ()):
                        told = " ".join(str(value) for value in attributes_of(point["attributes"]).values())
                        key = (program, metric["name"], told)
                        totals[key] = totals.get(key, 0) + int(point["asInt"])
    return [(program, name, str(n), told) for (program, name, told), n in sorted(totals.items())]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *texts]) for i in range(len(head))]
    for row in [list(head), ["-" * width for width in widths], *texts]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _vendors(arrivals: Sequence[Arrival]) -> list[str]:
    """Show what GA4 and Segment got; return which of their rules were broken."""
    print("\nThe same at the other two, translated (each request checked against the vendor's documented rules):\n")
    rows: dict[tuple[str, str], int] = {}
    for arrival in arrivals:
        if arrival.kind == "ga4":
            names = [event["name"] for event in arrival.body["events"]]
        elif arrival.kind == "segment":
            names = [message.get("event", message["type"]) for message in arrival.body.get("batch", ())]
        else:
            continue
        for name in names:
            rows[(arrival.kind, name)] = rows.get((arrival.kind, name), 0) + 1
    _table(("destination", "event", "times"), [(kind, name, n) for (kind, name), n in sorted(rows.items())])
    problems = [problem for arrival in arrivals for problem in arrival.problems]
    print("\nNot valid: " + "; ".join(problems) if problems else "\nAll of it valid.")
    return problems


def _ledgers(folder: Path) -> None:
    print("\nWhat each user can read back (ledger.jsonl):\n")
    rows = []
    for home in sorted((folder / "state").iterdir()):
        sent: dict[tuple[str, str], int] = {}
        for entry in Ledger(str(home)).entries():
            key = (entry["destination"], entry["signal"])
            sent[key] = sent.get(key, 0) + (entry["records"] if entry["result"] == "sent" else 0)
        rows += [(home.name, destination, signal, n) for (destination, signal), n in sent.items()]
    _table(("program", "destination", "signal", "records sent"), rows)


def _cost(work: Path, environ: Mapping[str, str]) -> None:
    command = [sys.executable, str(examples() / "digest.py"), "make", "notes.txt"]
    times: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(PAIRS):
        for mode, taken in times.items():
            begun = time.perf_counter()
            subprocess.run(
                command, cwd=work, env={**environ, "DIGEST_TELEMETRY": mode}, capture_output=True, check=False
            )
            taken.append((time.perf_counter() - begun) * 1000)
    added = statistics.median(on - off for on, off in zip(times["on"], times["off"], strict=True))
    print(
        f"\nWhat it cost: `digest make notes.txt` takes {statistics.median(times['off']):.1f} ms with telemetry off and "
        f"{added:+.1f} ms more with it on\n(medians of {PAIRS} paired runs on this machine; `make bench` counts instructions)."
    )
