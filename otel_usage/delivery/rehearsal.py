"""What would be sent, byte for byte, without sending it: for log mode and for ``preview``.

ALGORITHM
1. Copy what waits and what is remembered into a temporary folder (spool_copy.py).
2. Let a real `Sender` work on the copy. Whatever it would do with the records, limits, checks and order, it does.
3. Each destination is built as always, but its requests are captured in place of being sent, and answered as if all had
   gone well (`CapturingDestination`).
4. Put environment and log level back, and remove the copy.
Where an exporter cannot be asked for its requests, the preview has the records that it would get. Where no destination is
set, it has what an OTLP backend would get, so that a record can be seen before there is one.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ..consent.notice import wrap
from ..otlp import json_from_protobuf, json_of_metrics
from ..recording.lasting import is_lasting
from .destination import Destination
from .environment import choose_destinations
from .otlp_session import CapturedRequest, OtlpSession
from .preview_request import GRPC, NO_METHOD, WIDTH, Preview, PreviewedRequest
from .queue import Queue
from .sender import Sender
from .spool_copy import copy_home
from .verdict import Verdict

MAX_WIDTH = 160  # of a line, however wide the terminal is
NOBODY = "00000000-0000-4000-8000-000000000000"  # in place of the id of an installation that has sent nothing yet
PUBLIC_HEADERS = ("accept-encoding", "content-encoding", "content-type", "user-agent")  # those that hold no key
CONNECTION_HEADERS = ("accept", "connection", "content-length")  # those that whoever makes the connection adds
REDACTED = "REDACTED"
STAND_IN = "http://localhost"  # for a destination where none is set; its requests are captured, as all are
GZIP = b"\x1f\x8b"  # how compressed content begins


def print_requests(settings: Mapping[str, Any], out: TextIO) -> None:
    """Print what this run would have sent, in log mode: ``settings["lines"]``."""
    preview = rehearse(settings, settings["home"], since_s=float(settings["since_s"]), ci=settings.get("ci", ""))
    try:
        width = min(os.get_terminal_size(out.fileno()).columns, MAX_WIDTH)
    except (OSError, ValueError):
        width = WIDTH
    parts = list(preview.problems.values())
    parts += ["\n".join(filter(None, request.text(width))) for request in preview.requests]
    head = f"{settings['app']} telemetry, log mode: this is what would be sent. Nothing was."
    if preview.for_nobody:
        head = f"{settings['app']} telemetry, log mode: no destination is set, so nothing is sent. This was recorded:"
    # In one write: another process may be printing too.
    out.write(wrap(head, width) + "\n\n" + "\n\n".join(parts or ["none"]) + "\n")
    out.flush()


def rehearse(
    settings: Mapping[str, Any], home: str, *, since_s: float, ci: str = "", spools: Sequence[str] = ()
) -> Preview:
    """Return what a sender would send now, and leave everything as it is: files, memory, environment.

    spools: the folders whose records count; those in ``settings["lines"]``, if any, always do. since_s: nothing begun
    earlier counts. Raises OSError if there is no room for the copy.
    """
    for_nobody = not choose_destinations(settings["destinations"])
    if for_nobody:
        settings = {**settings, "destinations": {"otlp": STAND_IN}}
    before, logger = dict(os.environ), logging.getLogger("otel_usage_exporters")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)  # what is wrong is said by `Preview.problems`
        with copy_home(home, spools, settings.get("lines") or ()) as copy:
            sender = Rehearsal({**settings, "ci": ci, "home": copy}, since_s, home)
            sender.drain()
            if for_nobody:
                sender.preview.requests = [_without_address(request) for request in sender.preview.requests]
            return sender.preview
    finally:
        logger.setLevel(level)
        os.environ.clear()
        os.environ.update(before)


def _without_address(request: PreviewedRequest) -> PreviewedRequest:
    """Return what *request* holds, for nobody."""
    body = json.dumps(request.content()).encode()
    return PreviewedRequest("", request.signal, NO_METHOD, "", {}, body, request.records)


class Rehearsal(Sender):
    """A sender whose destinations only write down what they would send.

    settings: with the copy as ``home``; real_home: where the id is, which is only read.
    """

    def __init__(self, settings: Mapping[str, Any], since_s: float, real_home: str) -> None:
        super().__init__(settings)
        self.since_s = since_s
        self.real_home = self.id_folder = real_home
        self.preview = Preview()

    def added_attributes(self) -> Mapping[str, str | bool]:
        """Return the attributes that are added to every record, with what stands for the id if there is none yet."""
        from .cluster_identity import remembered_cluster
        from .installation_id import Installation, read_installation
        from .resource import describe_installation
        from .service_identity import find_named

        if self._added is None:
            nobody = Installation(NOBODY, time.time())
            ci = self.settings.get("ci", "")
            named = find_named(self.settings["app"], os.environ) if self.is_service else None
            lasts = named is not None or not self.is_service or is_lasting(self.real_home)
            added = describe_installation(
                None if ci else named or read_installation(self.real_home) or nobody, ci, ephemeral=not lasts
            )
            service = self.is_service and not ci
            cluster = remembered_cluster(self.settings["app"], self.real_home, os.environ) if service else ""
            self._added = {**added, **({"k8s.cluster.uid": cluster} if cluster else {})}
        return self._added

    def may_send(self) -> bool:
        """Return True: whether anything would be sent was decided before."""
        return True

    def build(self, name: str) -> Destination:
        """Return the destination as the sender builds it, but for its connections."""
        return CapturingDestination(super().build(name), self.keywords[name] or {}, self.preview.requests)

    def refuse(self, queue: Queue, problem: str) -> None:
        """Write down that a destination can't be built, for this preview alone."""
        self.preview.problems[queue.name] = problem


class CapturingDestination(Destination):
    """A destination that puts its requests into *requests*, and says that all went well.

    real: the destination as it would be used; keywords: what its exporters were built with.
    """

    def __init__(self, real: Destination, keywords: Mapping[str, Any], requests: list[PreviewedRequest]) -> None:
        super().__init__(real.name, real.exporters, real.sessions)
        self.keywords = keywords
        self.requests = requests
        memory: dict[Any, Any] = {}  # shared: what the first exporter would remember, the second one knows
        for exporter in real.exporters.values():
            if hasattr(exporter, "rehearse"):  # one of this project
                exporter.rehearse(memory)

    def deliver(self, signal: str, items: Any, n: int) -> Verdict:
        """Capture the requests for *items*. Any: as the exporters take them."""
        exporter, session = self.exporters[signal], self.sessions.get(signal)
        if hasattr(exporter, "rehearse"):
            exporter.shown = []
            verdict = super().deliver(signal, items, n)
            self.requests += [PreviewedRequest(self.name, signal, *request) for request in exporter.shown]
            return verdict
        if session is not None:  # the official one, over HTTP
            return self._capture_http(session, signal, items, n)
        if self.name == "otlp":
            self.requests.append(self._grpc_request(signal, items, n))
        else:
            payload = json_of_metrics(items) if signal == "metrics" else _json_of_spans(items)
            body = json.dumps(payload).encode()
            self.requests.append(PreviewedRequest(self.name, signal, NO_METHOD, "", {}, body, n))
        return Verdict()

    def _capture_http(self, session: OtlpSession, signal: str, items: Any, n: int) -> Verdict:
        captured: list[CapturedRequest] = []
        session.captured = captured
        verdict = super().deliver(signal, items, n)
        for request in captured:
            headers = {
                name: value if name.lower() in PUBLIC_HEADERS else REDACTED
                for name, value in request.headers.items()
                if name.lower() not in CONNECTION_HEADERS
            }
            body = gzip.decompress(request.body) if request.body.startswith(GZIP) else request.body
            address = request.url.partition("?")[0]  # what follows may be a key
            self.requests.append(PreviewedRequest(self.name, signal, request.method, address, headers, body, n))
        return verdict

    def _grpc_request(self, signal: str, items: Any, n: int) -> PreviewedRequest:
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        body = (encode_spans if signal == "traces" else encode_metrics)(items).SerializeToString()
        address = str(self.keywords.get("endpoint") or getattr(self.exporters[signal], "_endpoint", ""))
        return PreviewedRequest(self.name, signal, GRPC, address, {}, body, n)


def _json_of_spans(spans: Any) -> dict[str, Any]:
    """Return the SDK's spans as OTLP JSON. Any: the SDK's own, and JSON."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return json_from_protobuf("traces", encode_spans(spans).SerializeToString())
