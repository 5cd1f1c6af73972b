"""What would be sent, byte for byte, without sending it.

Ring 1 (background). Log mode and ``preview`` rehearse: a real `Sender` goes to work on a copy of what waits and of what is
remembered, and its destinations' requests are kept in place of being sent.
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from .delivery import Verdict
from .destination import Destination
from .otlp import json_from_protobuf, json_of
from .queue import Queue, abandoned, entries
from .recorder import FORMAT
from .remembered import SECRET
from .sender import Sender

NOBODY = "00000000-0000-4000-8000-000000000000"  # stands for the installation's id, which is made at the first sending
WIDTH = 100
PLAIN = ("accept-encoding", "content-encoding", "content-type", "user-agent")  # headers that hold no key
CONNECTION = ("accept", "connection", "content-length")  # those that whoever makes the connection adds
REDACTED = "REDACTED"


@dataclass(frozen=True)
class Request:
    """One request, as a destination would get it but for keys.

    method: ``POST`` or ``gRPC``; "" for an exporter that is not ours: it gets these records, and how it sends them is its
    own affair. body: before compression. records: how many spans, data points or events it is about.
    """

    destination: str
    signal: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    records: int

    @property
    def protobuf(self) -> bool:
        """True if the body is OTLP in binary form."""
        return self.method == "gRPC" or "application/x-protobuf" in self.headers.values()

    def content(self) -> Any:
        """Return what the body says. Any: JSON."""
        return json_from_protobuf(self.signal, self.body) if self.protobuf else json.loads(self.body)

    def json(self) -> dict[str, Any]:
        """Return all of it for machines. body: as JSON; base64: the very bytes, before compression."""
        return {
            "destination": self.destination,
            "signal": self.signal,
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers),
            "records": self.records,
            "body": self.content(),
            "base64": base64.b64encode(self.body).decode(),
        }

    def text(self, width: int = WIDTH) -> tuple[str, str, str]:
        """Return what people read: a line that says what it is, its headers, its body."""
        n = f"{self.records:,} record{'' if self.records == 1 else 's'}"
        if not self.method:
            return f"{self.destination}, {n}: given to its exporter", "", fitted(self.content(), width)
        form = " (OTLP, here as JSON)" if self.protobuf else ""
        headers = _packed((f"{name}: {value}" for name, value in self.headers.items()), width)
        return f"{self.destination}, {n}{form}: {self.method} {self.url}", headers, fitted(self.content(), width)


@dataclass
class Preview:
    """What would be sent. problems: ``{destination: why it gets nothing}``.

    example: the requests are made of records that will stay here: they show what others would look like.
    """

    requests: list[Request] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    example: bool = False

    @property
    def incomplete(self) -> bool:
        """True if the rest of some address is not known here."""
        return any(SECRET in request.url for request in self.requests)

    def json(self) -> dict[str, Any]:
        """Return it for machines."""
        told = [request.json() for request in self.requests]
        return {"example": self.example, "incomplete": self.incomplete, "problems": self.problems, "requests": told}


def show(settings: Mapping[str, Any], out: TextIO) -> None:
    """Print what log mode was given to print: this run's lines."""
    found = rehearse(settings, settings["home"], since_s=float(settings["since_s"]), ci=settings.get("ci", ""))
    try:
        width = min(os.get_terminal_size(out.fileno()).columns, 160)
    except (OSError, ValueError):
        width = WIDTH
    parts = list(found.problems.values())
    parts += ["\n".join(filter(None, request.text(width))) for request in found.requests]
    head = f"{settings['app']} telemetry, log mode: this is what would be sent. Nothing was.\n\n"
    out.write(head + "\n\n".join(parts or ["none"]) + "\n")  # at once: another may be printing too
    out.flush()


def rehearse(
    settings: Mapping[str, Any], home: str, *, since_s: float, ci: str = "", spools: Sequence[str] = ()
) -> Preview:
    """Return what a sender would send now, and leave everything as it is: files, memory, environment.

    spools: the folders whose records count; those in ``settings["lines"]``, if any, always do.
    Raises OSError if there is no room for the copy.
    """
    before, logger = dict(os.environ), logging.getLogger("otel_usage_exporters")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)  # what is wrong is told by `Preview.problems`
        with _copy(home, spools, settings.get("lines") or ()) as copy:
            sender = Rehearsal({**settings, "ci": ci, "home": copy}, since_s)
            sender.identify(home)
            sender.drain()
            return sender.preview
    finally:
        logger.setLevel(level)
        os.environ.clear()
        os.environ.update(before)


class Rehearsal(Sender):
    """A sender whose destinations are asked for their requests, and say that all went well."""

    def __init__(self, settings: Mapping[str, Any], since_s: float) -> None:
        super().__init__(settings)
        self.since_s = since_s
        self.preview = Preview()

    def identify(self, home: str) -> None:
        """Use the id that is kept in *home*; what stands for it if there is none yet."""
        from .enrich import resource
        from .identity import kept_id

        vendor = self.settings.get("ci")
        self._told = resource(f"ci.{vendor}" if vendor else kept_id(home) or NOBODY)

    def allowed(self) -> bool:
        """Return True: whether anything would be sent was decided before."""
        return True

    def build(self, name: str) -> Destination:
        """Return the destination as the sender builds it, but for its connections."""
        return _Shown(super().build(name), self.keywords[name] or {}, self.preview.requests)

    def refused(self, queue: Queue, why: str) -> None:
        """Note that a destination can't be built."""
        self.preview.problems[queue.name] = why


class _Shown(Destination):
    """A destination whose requests are kept."""

    def __init__(self, real: Destination, keywords: Mapping[str, Any], kept: list[Request]) -> None:
        super().__init__(real.name, real.exporters, real.sessions)
        self.keywords = keywords
        self.kept = kept
        memory: dict[Any, Any] = {}
        for exporter in real.exporters.values():
            if hasattr(exporter, "rehearse"):  # ours
                exporter.rehearse(memory)

    def deliver(self, signal: str, items: Any, n: int) -> Verdict:
        """Keep the requests for *items*. Any: as the exporters take them."""
        exporter, session = self.exporters[signal], self.sessions.get(signal)
        if hasattr(exporter, "rehearse"):
            exporter.shown = []
            verdict = super().deliver(signal, items, n)
            self.kept += [Request(self.name, signal, *shown) for shown in exporter.shown]
            return verdict
        if session is not None:  # the official one, over HTTP
            session.shown = []
            verdict = super().deliver(signal, items, n)
            for method, url, headers, body in session.shown:
                told = {
                    key: value if key.lower() in PLAIN else REDACTED
                    for key, value in headers.items()
                    if key.lower() not in CONNECTION
                }
                plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
                self.kept.append(Request(self.name, signal, method, url.partition("?")[0], told, plain, n))
            return verdict
        if self.name == "otlp":
            self.kept.append(self._grpc(signal, items, n))
        else:
            told = json_of(items) if signal == "metrics" else _spans(items)
            self.kept.append(Request(self.name, signal, "", "", {}, json.dumps(told).encode(), n))
        return Verdict()

    def _grpc(self, signal: str, items: Any, n: int) -> Request:
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        body = (encode_spans if signal == "traces" else encode_metrics)(items).SerializeToString()
        url = str(self.keywords.get("endpoint") or getattr(self.exporters[signal], "_endpoint", ""))
        return Request(self.name, signal, "gRPC", url, {}, body, n)


def _spans(items: Any) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return json_from_protobuf("traces", encode_spans(items).SerializeToString())


@contextmanager
def _copy(home: str, spools: Sequence[str], lines: Sequence[bytes]) -> Iterator[str]:
    """Make a copy of what a sender would find, for as long as the context lasts: records, queues, memory.

    Not of files that a living process holds locked. A file that vanishes meanwhile was taken by a sender at work.
    """
    with tempfile.TemporaryDirectory(prefix="otel-usage-") as copy:
        target = os.path.join(copy, FORMAT)
        for name in ("new", "open"):
            os.makedirs(os.path.join(target, name))
        for name in entries(home):
            if name.endswith(".json") and os.path.isfile(os.path.join(home, name)):
                _file(os.path.join(home, name), os.path.join(copy, name))
        for spool in spools:
            for name in ("dropped", "batch", "batch.done"):
                _file(os.path.join(spool, name), os.path.join(target, name))
            for name in entries(os.path.join(spool, "new")):
                _file(os.path.join(spool, "new", name), os.path.join(target, "new", name))
            for name in abandoned(spool):
                _file(os.path.join(spool, "open", name), os.path.join(target, "open", name))
            for queue in entries(os.path.join(spool, "queue")):
                for part in ("wait", "flight"):
                    source = os.path.join(spool, "queue", queue, part)
                    os.makedirs(os.path.join(target, "queue", queue, part), exist_ok=True)
                    for name in entries(source):
                        _file(os.path.join(source, name), os.path.join(target, "queue", queue, part, name))
                _pause(os.path.join(spool, "queue", queue), os.path.join(target, "queue", queue))
        for n, line in enumerate(lines):
            signal = "traces" if line.startswith(b'{"resourceSpans"') else "metrics"
            with open(os.path.join(target, "new", f"{n:016x}.{signal}.jsonl"), "wb") as file:
                file.write(line)
        yield copy


def _file(source: str, target: str) -> None:
    """Copy one file with its time, a link as a link. What is neither becomes an empty file: as wrong as it was."""
    try:
        shutil.copy2(source, target, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, shutil.SpecialFileError, PermissionError):
        with open(target, "wb"):
            pass


def _pause(source: str, target: str) -> None:
    """Keep how often a destination failed, which decides about the order, but let it be tried now."""
    try:
        with open(os.path.join(source, "pause"), encoding="ascii") as file:
            failures = int(json.load(file)["failures"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    with open(os.path.join(target, "pause"), "w", encoding="ascii") as file:
        json.dump({"failures": failures, "not_before_s": 0}, file)


def fitted(value: Any, width: int, indent: int = 0, lead: int = 0, tail: int = 0) -> str:
    """Return JSON that is broken into lines only where it is wider than *width*. Any: JSON.

    indent: of the lines after the first; lead: how much stands before the first; tail: how much follows the last.
    """
    whole = json.dumps(value, ensure_ascii=False)
    if not whole.isprintable():
        whole = json.dumps(value)
    if indent + lead + len(whole) + tail <= width or not value or not isinstance(value, (dict, list)):
        return whole
    pairs: list[tuple[str, Any]] = (
        [(json.dumps(key) + ": ", inner) for key, inner in value.items()]
        if isinstance(value, dict)
        else [("", inner) for inner in value]
    )
    start, end = "{}" if isinstance(value, dict) else "[]"
    if len(pairs) == 1:  # such as {"resourceSpans": [{…}]}: no line and no indent of its own
        key, inner = pairs[0]
        return start + key + fitted(inner, width, indent, lead + 1 + len(key), tail + 1) + end
    lines, packing = [""], False
    for n, (key, inner) in enumerate(pairs):
        text = key + fitted(inner, width, indent + 1, len(key), 1) + ("," if n < len(pairs) - 1 else "")
        single = not inner or not isinstance(inner, (dict, list))
        if packing and single and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += " " + text
        else:
            lines.append(" " * (indent + 1) + text)
        packing = single
    return start + "\n".join(lines) + "\n" + " " * indent + end


def _packed(parts: Iterable[str], width: int) -> str:
    """Return *parts* in as few indented lines as hold them, none broken."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += " · " + part
        else:
            lines.append("  " + part)
    return "\n".join(lines)
