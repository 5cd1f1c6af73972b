"""GA4 and Segment as services meet them, on loopback: what arrived, which rules it broke, and whether a secret was in it."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

from ..planted_secrets import hits


class Vendors:
    """Plays GA4 and Segment. problems: rules of theirs that a request broke; bodies: all that arrived, unpacked."""

    # Any: the fixture `serve`, and JSON.
    def __init__(self, serve: Any) -> None:
        self.server = serve()
        self.server.reply = self.reply
        self.problems: list[Any] = []
        self.events: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.texts: list[tuple[str, bytes]] = []

    def reply(self, path: str, headers: Any, body: bytes) -> tuple[int, Any, Any]:
        self.texts += [(path, path.encode()), ("headers", str(dict(headers)).encode()), ("body", body)]
        if path.startswith("/mp/collect"):
            status, answer, text, problems = ga4_wire.answer(path, "", body)
            self.events += [{**event, "client": json.loads(body)["client_id"]} for event in json.loads(body)["events"]]
        else:
            status, answer, text, problems = segment_wire.answer(path, headers, body)
            self.messages += [m for m in json.loads(gzip.decompress(body))["batch"] if m["type"] == "track"]
        self.problems += problems
        return status, answer, text

    @property
    def names(self) -> tuple[list[str], list[str]]:
        return sorted({event["name"] for event in self.events}), sorted({m["event"] for m in self.messages})

    def params(self, name: str) -> list[dict[str, Any]]:
        """Return the parameters of the events of that name, but for those that all have."""
        common = {"session_id", "engagement_time_msec", "app", "app_version", "duration_ms"}
        return [
            {key: value for key, value in event["params"].items() if key not in common}
            for event in self.events
            if event["name"] == name
        ]

    def check(self, secrets: Iterable[str]) -> None:
        """Fail if a rule was broken, or one of *secrets* or an address left."""
        assert [] == self.problems
        assert [] == hits(secrets, self.texts)
        assert not any(b"127.0.0.1" in text for where, text in self.texts if where == "body")

    def environ(self, home: Path, semconv: str = "") -> dict[str, str]:
        """Return the environment of a service called ``shop`` that exports to them."""
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "OTEL_USAGE_HOME": str(home / "home"),
            "PYTHONPATH": str(home),
            "PYTHONUNBUFFERED": "1",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_TRACES_EXPORTER": "ga4,segment",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_SEMCONV_STABILITY_OPT_IN": semconv,
            "OTEL_EXPORTER_GA4_MEASUREMENT_ID": "G-AB12CD34EF",
            "OTEL_EXPORTER_GA4_API_SECRET": "k",
            "OTEL_EXPORTER_GA4_ENDPOINT": self.server.url,
            "OTEL_EXPORTER_SEGMENT_WRITE_KEY": "k",
            "OTEL_EXPORTER_SEGMENT_ENDPOINT": self.server.url,
        }
