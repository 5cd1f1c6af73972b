"""What would be sent, in words and byte for byte, without sending it.

Ring 1 (background). Log mode and ``preview`` print from here; both go through `intake.Batch` and the exporters' own
translation, as a real sending does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from .destination import Destination, build, destinations, forget_ambient
from .enrich import resource
from .intake import Batch
from .otlp import json_of
from .schema import SettingError
from .segment import Points, Spans

NOBODY = "00000000-0000-4000-8000-000000000000"  # stands for the installation's id, which is made at the first sending


def show(settings: Mapping[str, Any], out: TextIO) -> None:
    """Print what log mode was given to print: this run's lines."""
    batch = Batch(settings, float(settings["since_s"]))
    for row in settings["lines"]:
        if row.startswith(b'{"resourceSpans"'):
            batch.add_traces(row)
        else:
            batch.add_metrics(row)
    told = settings["destinations"]
    if told is not None:
        forget_ambient()
    app = settings["app"]
    out.write(f"{app} telemetry, log mode: this is what would be sent. Nothing was.\n")
    extra = resource(f"ci.{settings['ci']}" if settings.get("ci") else NOBODY)
    metrics = batch.metrics()
    n = 0
    for name, keywords in destinations(told).items():
        try:
            destination = build(name, keywords, schema=settings["schema"])
        except SettingError as exc:
            out.write(f"{name}: {exc}\n")
            continue
        for text in requests(destination, contents(batch, metrics, extra)):
            out.write(text + "\n")
            n += 1
    if not n:
        out.write("none\n")
    out.flush()


def contents(
    batch: Batch, metrics: Mapping[str, Any] | None, extra: Mapping[str, str]
) -> list[tuple[str, Spans | Points]]:
    """Return what a batch becomes: (``traces`` or ``metrics``, segment), none that is empty."""
    found: list[tuple[str, Spans | Points]] = []
    if batch.records:
        found.append(("traces", Spans(batch.records, extra)))
    if metrics is not None:
        found.append(("metrics", Points(metrics, extra)))
    return found


def requests(destination: Destination, segments: Iterable[tuple[str, Spans | Points]]) -> Iterator[str]:
    """Yield, as text, every request that *destination* would get for *segments*."""
    for signal, content in segments:
        exporter = destination.exporters.get(signal)
        if exporter is None:
            continue
        if hasattr(exporter, "requests_for"):
            for method, url, headers, body in exporter.requests_for(content.items):
                lines = [f"{destination.name}: {method} {url}", *(f"{key}: {value}" for key, value in headers.items())]
                yield "\n".join([*lines, "", body.decode("utf-8", "replace")])
        else:
            told = json_of(content.items) if isinstance(content, Points) else content.json()
            yield f"{destination.name}: {signal}, as OTLP JSON\n{json.dumps(told, indent=1)}"
