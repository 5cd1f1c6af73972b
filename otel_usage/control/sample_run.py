"""A run that nobody made: one record as it would be sent, and the addresses that it would be sent to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..recording.otlp_events import span
from ..recording.otlp_text import line, resource_attributes, run_attributes, span_name

MADE_UP_COMMAND = "report upload"
TRACE, OWN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # the ids of W3C's own example


def sample_line(settings: Mapping[str, Any], *, start_ns: int | None = None, duration_ns: int = 1_234_000_000) -> bytes:
    """Return the record of one successful run as the recorder writes it. start_ns: default now."""
    app, version = settings["app"], str(settings["version"])
    began_ns = time.time_ns() if start_ns is None else start_ns
    name = span_name(app, MADE_UP_COMMAND)
    bare = span(TRACE, OWN, "", name, began_ns, began_ns + duration_ns, [], False)
    attributes = run_attributes(app, MADE_UP_COMMAND, ["--format"], (0, "success", ""), False, True, "", "cli")
    body = bare.replace('"attributes":[]', f'"attributes":[{attributes}]', 1)
    return line("Spans", "spans", resource_attributes(app, version, "cpython", "3.12.1"), body)


def addresses_of(settings: Mapping[str, Any], home: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return ({destination: the address that it is sent to}, {destination: why it gets nothing}). Sends nothing.

    Found by a rehearsal of sending a sample: nobody but an exporter knows its address. Raises OSError.
    """
    from ..delivery.rehearsal import rehearse

    preview = rehearse({**settings, "lines": [sample_line(settings)]}, home, since_s=0.0)
    urls = {request.destination: request.url for request in reversed(preview.requests) if request.url}
    return urls, dict(preview.problems)
