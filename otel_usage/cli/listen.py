"""``otel-usage listen``: receive telemetry on this machine, and print what arrives, one line each."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from ..receiver.arrival import Arrival
from ..receiver.server import Listener
from ..receiver.vendors import VENDORS


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "listen",
        help="receive telemetry on this machine and show it",
        description="Receive on loopback and print one line per span, data point, event and message: OTLP/HTTP "
        "(/v1/traces, /v1/metrics; protobuf and JSON), GA4's Measurement Protocol (/mp/collect, /debug/mp/collect), "
        "Segment's tracking API (/v1/batch, /v1/track, …), PostHog's (/batch/), Mixpanel's (/track, /import), "
        "Amplitude's (/2/httpapi, /batch), Matomo's (/matomo.php) and Piwik PRO's (/ppms.php). What breaks a "
        "vendor's rule is shown: most of them do not tell.",
    )
    parser.add_argument("--port", type=int, default=4318, help="default: 4318; 0 finds a free one")
    parser.add_argument("--jsonl", metavar="FILE", help="also append what arrives to FILE, one JSON object per line")
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Listen until interrupted; 1 if the port is taken."""
    file: TextIO | None = open(args.jsonl, "a", encoding="utf-8") if args.jsonl else None  # noqa: SIM115  open for good

    def print_arrival(arrival: Arrival) -> None:
        for line in arrival.lines():
            print(line, flush=True)
        if file is not None:
            file.write(json.dumps(arrival.body, separators=(",", ":")) + "\n")
            file.flush()

    try:
        server = Listener(args.port, print_arrival)
    except OSError as exc:
        problem = f"port {args.port} can't be listened on ({exc.strerror}); pass another with --port"
        print(f"otel-usage: {problem}", file=sys.stderr)
        if file is not None:
            file.close()
        return 1
    print(f"listening on {server.address}  (OTLP/HTTP, {', '.join(VENDORS)}; Ctrl-C ends)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
        if file is not None:
            file.close()
    return 0
