"""Events as they arrive, by server-sent events; and what a server shows that has none yet.

ALGORITHM
1. The page has the latest events, so that it says something without scripts.
2. The stream sends what was received after the last of these: its address says when that was, so nothing is lost between
   page and stream. Each event has its time as its id; a browser that has to connect again says the last one it had.
3. It looks every `LOOK_S` whether the store has newer ones, which costs no query. If so it sends them, the latest
   `MOST_AT_ONCE` if there are more.
4. It ends when the server is about to: a stream that never ends would hold up the server's own end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from starlette.concurrency import run_in_threadpool

from .frame import begin, end, heading
from .markup import Markup, join, tag
from .reading import Reading
from .view import View
from .wording import NOTHING, write

LOOK_S = 0.2
COMMENT_S = 15.0  # so often something is sent, or a proxy takes the connection for dead
MOST_AT_ONCE = 40
SHOWN = 50
TITLES = ("Time (UTC)", "What", "Kind", "Outcome", "Duration", "Version", "Who", "System")
# µs of ``received`` in the SQL of DuckDB; the live page reads the store that this server writes, which is one.
_SELECT = (
    'SELECT app, "at", kind, name, outcome, duration_us, version, ci, ci_system, agent, surface, os, arch, '
    "epoch_us(received) FROM events"
)


@dataclass(frozen=True)
class Row:
    """An event as it is shown: the texts of its cells, its outcome, and when it was received, in µs since the epoch."""

    cells: Sequence[str]
    outcome: str
    received_us: int


def live_page(view: View, rows: Sequence[Row]) -> Markup:
    """Return the page; rows: of the latest events, the newest first."""
    head = tag(
        "tr", [tag("th", title, scope="col", class_="number" if title == "Duration" else None) for title in TITLES]
    )
    body = tag("tbody", [_draw_row(row) for row in rows])
    table = tag("table", tag("caption", "The latest events", class_="visually-hidden"), tag("thead", head), body)
    nothing = tag("p", "Nothing has arrived yet.", class_="muted", data_nothing=True) if not rows else None
    panel = tag(
        "section",
        tag("p", "Reload the page to see what is new.", class_="pulse", role="status", data_state="still"),
        tag("div", table, nothing, class_="scroll", tabindex=0, role="group", aria_label="Latest events"),
        class_="panel wide",
        data_live=f"/live/events?after={max((row.received_us for row in rows), default=0)}",
    )
    text = (
        "Events of all programs, as they arrive. Nothing is left out; who said no, or never saw a "
        "notice, sends nothing. What users typed is never sent either."
    )
    return join(begin(view, "Live", live=True), heading("Live", text), panel, end())


def welcome_page(view: View, address: str) -> Markup:
    """Return what is shown while there are no events: what to do next. address: where this server takes them."""
    program = "otel-usage run --app hello"
    line = f"OTEL_USAGE_SEND_DELAY_S=0 {program} --to {address} -- ls"
    if view.asks_clients:
        headers = "OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer TOKEN'"  # beside --to they would not be sent
        line = f"OTEL_USAGE_SEND_DELAY_S=0 OTEL_EXPORTER_OTLP_ENDPOINT={address} {headers} {program} -- ls"
    destination = f'"{address}"'
    if view.asks_clients:
        destination = f'{{"endpoint": "{address}", "headers": {{"authorization": "Bearer TOKEN"}}}}'
    code = f'otel_usage.init("mycli", version="1.4", consent="opt-out", destinations={{"otlp": {destination}}})'
    content = tag(
        "section",
        tag("h1", "Waiting for the first event"),
        tag("p", "Nothing has arrived yet. Paste this line into a terminal; its run appears below by itself:"),
        tag("code", line, class_="paste", id="line"),
        tag("button", "Copy", class_="button copy", type="button", hidden=True, data_copies="line"),
        tag("p", "TOKEN is one of those that clients send with.") if view.asks_clients else None,
        tag("p", "Then have your own program send here, by one line in it:"),
        tag("code", code, class_="paste", id="code"),
        tag("p", "Reload the page to see what is new.", class_="pulse", role="status", data_state="still"),
        tag("p", tag("a", "Look at it", href="/live", class_="button main"), hidden=True, data_then=True),
        class_="panel welcome",
        data_live="/live/events?after=0",
    )
    return join(begin(view, "Waiting for the first event", live=True), content, end())


def _draw_row(row: Row) -> Markup:
    parts = []
    for n, text in enumerate(row.cells):
        number = "number" if TITLES[n] == "Duration" else None
        class_ = f"outcome {row.outcome}" if n == 3 else number
        parts.append(tag("th", text, scope="row") if n == 1 else tag("td", text, class_=class_))
    return tag("tr", parts)


def latest(reading: Reading, after_us: int = -1, most: int = SHOWN) -> list[Row]:
    """Return the rows of the latest events that were received after a time, the newest first."""
    rows = reading.look(
        f'{_SELECT} WHERE received > make_timestamp({after_us:d}) ORDER BY received DESC, "at" DESC LIMIT {most:d}', {}
    )
    return [_read_row(row) for row in rows]


def _read_row(row: Sequence[Any]) -> Row:
    """Return one event's row. Any: what DuckDB makes of a column."""
    app, at, kind, name, outcome, duration_us, version, ci, ci_system, agent, surface, system, arch, received_us = row
    who = f"CI {ci_system}".strip() if ci else f"agent {agent}" if agent else surface
    cells = (
        f"{at:%H:%M:%S}" if at.date() == datetime.now(timezone.utc).date() else f"{at:%Y-%m-%d %H:%M:%S}",
        f"{app} {name}".strip(),
        kind,
        outcome or NOTHING,
        write(duration_us / 1e6, "seconds") if kind == "run" else NOTHING,
        version or NOTHING,
        who or NOTHING,
        f"{system} {arch}".strip() or NOTHING,
    )
    return Row(cells, outcome if outcome in ("success", "failure") else "other", int(received_us))


async def stream(reading: Reading, after_us: int, closing: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield server-sent events: one for each event that was stored after *after_us*."""
    yield "retry: 1000\n\n: listening\n\n"  # after a lost connection, try again in a second
    looked_us = -1
    spoke_s = time.monotonic()
    while not closing():
        latest_us = reading.store.latest_us
        if latest_us > looked_us:
            rows = await run_in_threadpool(latest, reading, after_us, MOST_AT_ONCE)
            looked_us = latest_us
            for row in reversed(rows):
                after_us = max(after_us, row.received_us)
                text = json.dumps({"cells": row.cells, "outcome": row.outcome})
                yield f"id: {row.received_us}\nevent: usage\ndata: {text}\n\n"
            spoke_s = time.monotonic()
        elif time.monotonic() - spoke_s > COMMENT_S:
            yield ": still listening\n\n"
            spoke_s = time.monotonic()
        await asyncio.sleep(LOOK_S)
