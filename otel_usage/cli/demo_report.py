"""What ``otel-usage demo`` prints of the things that arrived: spans, counters, vendors' events, users' ledgers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..control.console import Console
from ..delivery.ledger import Ledger
from ..otlp import attributes_of
from ..receiver.arrival import Arrival
from ..spool.layout import LEDGER


def spans_of(arrival: Arrival) -> list[dict[str, Any]]:
    """Return what the tables show of each span in *arrival*: spanId, kind, start, and its row."""
    spans = []
    for group in arrival.body.get("resourceSpans", ()) if arrival.kind == "otlp" else ():
        program = attributes_of(group["resource"]["attributes"]).get("service.name", "")
        for scoped in group["scopeSpans"]:
            for span in scoped["spans"]:
                attributes = attributes_of(span["attributes"])
                kind = attributes.get("usage.kind", "")
                row = (
                    _run_row(program, attributes)
                    if kind == "run"
                    else _event_row(program, kind, span["name"], attributes)
                )
                spans.append({"spanId": span["spanId"], "kind": kind, "start": span["startTimeUnixNano"], "row": row})
    return spans


def _run_row(program: str, attributes: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        program,
        attributes["usage.command"],
        attributes["usage.outcome"],
        attributes.get("process.exit.code", "?"),
        " ".join(attributes.get("usage.options", ())),
        attributes.get("error.type", ""),
    )


def _event_row(program: str, kind: str, name: str, attributes: Mapping[str, Any]) -> tuple[object, ...]:
    prefix = "usage.field."
    fields = [f"{key.removeprefix(prefix)}={value}" for key, value in attributes.items() if key.startswith(prefix)]
    return (program, kind, name, " ".join(fields))


def print_spans(spans: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs, and then what was recorded inside them. spans: of `spans_of`, in the order of their start."""
    print_paragraph("What arrived, one span per run, and one per action or error inside it:\n")
    _print_table(
        ("program", "command", "outcome", "exit", "options", "error"),
        [span["row"] for span in spans if span["kind"] == "run"],
    )
    print_paragraph()
    _print_table(("program", "what", "name", "fields"), [span["row"] for span in spans if span["kind"] != "run"])


def print_counters(arrivals: Sequence[Arrival]) -> None:
    """Print the sum of all that arrived of each counter, by program and attributes."""
    totals: dict[tuple[str, str, str], int] = {}
    for arrival in arrivals:
        for group in arrival.body.get("resourceMetrics", ()) if arrival.kind == "otlp" else ():
            program = attributes_of(group["resource"]["attributes"]).get("service.name", "")
            for scoped in group["scopeMetrics"]:
                for metric in scoped["metrics"]:
                    for point in metric.get("sum", {}).get("dataPoints", ()):
                        labels = " ".join(str(value) for value in attributes_of(point["attributes"]).values())
                        key = (program, metric["name"], labels)
                        totals[key] = totals.get(key, 0) + int(point["asInt"])
    print_paragraph("\nand as counters:\n")
    rows = [(program, name, str(n), labels) for (program, name, labels), n in sorted(totals.items())]
    _print_table(("program", "counter", "value", "of"), rows)


def print_vendors(arrivals: Sequence[Arrival]) -> list[str]:
    """Print what the vendors got; return which of their rules were broken."""
    print_paragraph(
        "\nThe same at the vendors, translated (each request checked against the vendor's documented rules):\n"
    )
    times: dict[tuple[str, str], int] = {}
    for arrival in arrivals:
        names = [name for _, name, _ in arrival.events()] if arrival.kind != "otlp" else []
        for name in names:
            times[(arrival.kind, name)] = times.get((arrival.kind, name), 0) + 1
    _print_table(("destination", "event", "times"), [(kind, name, n) for (kind, name), n in sorted(times.items())])
    problems = [problem for arrival in arrivals for problem in arrival.problems]
    print_paragraph("\nNot valid: " + "; ".join(problems) if problems else "\nAll of it valid.")
    return problems


def print_ledgers(state: Path) -> None:
    """Print how many records each program has sent to whom, by the ledgers in *state*, the folder of all programs."""
    print_paragraph(f"\nWhat each user can read back ({LEDGER}):\n")
    rows = []
    for home in sorted(state.iterdir()):
        sent: dict[tuple[str, str], int] = {}
        for entry in Ledger(str(home)).entries():
            key = (entry["destination"], entry["signal"])
            sent[key] = sent.get(key, 0) + (entry["records"] if entry["result"] == "sent" else 0)
        rows += [(home.name, destination, signal, n) for (destination, signal), n in sent.items()]
    _print_table(("program", "destination", "signal", "records sent"), rows)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    Console(sys.stdout).print_table(head, [[str(cell) for cell in row] for row in rows])


def print_paragraph(text: str = "") -> None:
    """Print *text* so that no word of it is broken on a terminal."""
    Console(sys.stdout).print_line(text)
