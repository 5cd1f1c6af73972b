"""Measure the exporters: translation per event, and events per second beside the vendors' own clients.

``python -m tests.bench.exporters``. Each client sends the same runs to a receiver on this machine, in a process of its
own; the receiver reads, and answers 200. Ours starts from SDK spans, as the sender makes them; the others from their
``track`` or ``capture`` call, as their users do. All compress, where they can. Matomo and Piwik PRO have no client in Python that is
kept up: there it is raw requests, with nothing translated.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode

from tests.exporters.named_vendors import OTHERS, VISITS, Named, queries
from tests.exporters.servers import action, run

EVENTS = 20_000
ROUNDS = 3
NOW = time.time_ns()


def spans(n: int) -> list[Any]:
    """Return *n* spans: runs, and an action after every third."""
    return [action(i, end_ns=NOW - i) if i % 4 == 0 else run(i, end_ns=NOW - i) for i in range(1, n + 1)]


def per_event(work: Callable[[list[Any]], object], n: int = 2_048) -> float:
    """Return microseconds of CPU time per event, the median of some rounds."""
    given = spans(n)
    work(given)
    took = []
    for _ in range(9):
        began = time.process_time_ns()
        work(given)
        took.append((time.process_time_ns() - began) / 1e3 / n)
    return statistics.median(took)


def translate_ga4(given: list[Any]) -> list[bytes]:
    from otel_usage_exporters.ga4.translate import TAIL, GA4Options, translate
    from otel_usage_exporters.usage_event import events_from_spans

    done = translate(events_from_spans(given)[0], GA4Options(), now_ns=NOW)
    return [request.body(TAIL) for request in done.requests]


def translate_segment(given: list[Any]) -> list[bytes]:
    from otel_usage_exporters.segment.translate import SegmentOptions, tail, translate
    from otel_usage_exporters.usage_event import events_from_spans

    done = translate(events_from_spans(given)[0], SegmentOptions())
    return [request.body(tail("wk", NOW)) for request in done.requests]


# -- clients, each in a process of its own ----------------------------------------------------------------------


def properties(i: int) -> dict[str, Any]:
    return {
        "command": "report upload",
        "outcome": "success",
        "exit_code": 0,
        "options": ["--format", "--quiet"],
        "ci": False,
        "tty": True,
        "duration_ms": 250 + i % 7,
    }


def translate_named(of: Named, given: list[Any]) -> list[bytes]:
    from otel_usage_exporters.usage_event import events_from_spans

    done = of.translate(events_from_spans(given)[0], of.options(), now_ns=NOW)
    return [request.body(of.tail()) for request in done.requests]


def send_ours(make: Callable[[str], Any], url: str) -> Callable[[], None]:
    exporter = make(url)
    given = spans(EVENTS)

    def work() -> None:
        for at in range(0, EVENTS, 2_048):  # what the sender holds at once
            verdict = exporter.deliver(given[at : at + 2_048])
            assert not verdict.unsent, verdict
            assert not verdict.dropped, verdict

    return work


def ga4(url: str) -> Callable[[], None]:
    from otel_usage_exporters.ga4 import GA4SpanExporter

    def make(url: str) -> Any:
        return GA4SpanExporter(measurement_id="G-AB12CD", api_secret="x", endpoint=url, folder="")

    return send_ours(make, url)


def segment(url: str) -> Callable[[], None]:
    from otel_usage_exporters.segment import SegmentSpanExporter

    return send_ours(lambda url: SegmentSpanExporter(write_key="wk", endpoint=url, folder=""), url)


def ours_of(vendor: str) -> Callable[[str], Callable[[], None]]:
    """Return the work of our exporter to one of the vendors of named_vendors.py."""
    without = {"dimensions": ""} if vendor in VISITS else {}  # as the raw requests beside them
    return lambda url: send_ours(lambda url: OTHERS[vendor].exporter(url, **without), url)


def segment_analytics_python(url: str) -> Callable[[], None]:
    from segment.analytics.client import Client

    client = Client("wk", host=url, gzip=True, max_queue_size=EVENTS + 1)
    context = {"app": {"name": "mycli", "version": "1.4.0"}, "os": {"name": "Linux", "version": "6.8"}}

    def work() -> None:
        for i in range(EVENTS):
            client.track(anonymous_id="a" * 36, event="Command Run", properties=properties(i), context=dict(context))
        client.flush()

    return work


def posthog_python(url: str) -> Callable[[], None]:
    from posthog import Posthog

    client = Posthog("phc_x", host=url, gzip=True, max_queue_size=EVENTS + 1)

    def work() -> None:
        for i in range(EVENTS):
            client.capture("command run", distinct_id="a" * 36, properties=properties(i))
        client.flush()

    return work


def mixpanel_python(url: str) -> Callable[[], None]:
    from mixpanel import BufferedConsumer, Mixpanel

    consumer = BufferedConsumer(events_url=f"{url}/track")
    client = Mixpanel("token", consumer=consumer)

    def work() -> None:
        for i in range(EVENTS):
            client.track("a" * 36, "command run", properties(i))
        consumer.flush()

    return work


def amplitude_python(url: str) -> Callable[[], None]:
    from amplitude import Amplitude, BaseEvent, Config

    sent = []
    # Its storage takes 20,000 events and counts those that are under way: a program that sends more at once loses some.
    client = Amplitude("key", Config(server_url=url, callback=lambda *_: sent.append(1)))

    def work() -> None:
        for at in range(0, EVENTS, 2_000):
            for i in range(at, at + 2_000):
                client.track(BaseEvent("command run", device_id="a" * 36, event_properties=properties(i)))
            client.flush()
            while len(sent) < at + 2_000:
                time.sleep(0.001)
        client.shutdown()

    return work


def raw_bulk_requests(url: str) -> Callable[[], None]:
    """Return the work of a program that writes Matomo's documented requests itself, with requests: there is no client of theirs."""
    import requests

    session = requests.Session()

    def work() -> None:
        for _ in range(0, EVENTS, 200):
            bulk = [
                "?"
                + urlencode(
                    {
                        "idsite": 1,
                        "rec": 1,
                        "apiv": 1,
                        "bots": 1,
                        "_id": "0123456789abcdef",
                        "cdt": NOW // 10**9,
                        "url": "https://cli.invalid/mycli/report/upload",
                        "action_name": "report upload",
                    }
                )
                for _ in range(200)
            ]
            session.post(f"{url}/matomo.php", json={"requests": bulk, "token_auth": "t"}).raise_for_status()

    return work


CLIENTS = {
    "ours: ga4": ga4,
    "ours: segment": segment,
    "segment-analytics-python": segment_analytics_python,
    **{f"ours: {name}": ours_of(name) for name in OTHERS},
    "posthog-python": posthog_python,
    "mixpanel-python": mixpanel_python,
    "amplitude-python": amplitude_python,
    "raw bulk requests": raw_bulk_requests,
}


class Sink(BaseHTTPRequestHandler):
    """Reads what it gets, says 200, and counts events afterwards."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the answer in one packet: else this machine's delayed ACK is what is measured
    disable_nagle_algorithm = True
    bodies: list[tuple[str, bytes]] = []  # noqa: RUF012  one sink per process

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append((self.headers.get("Content-Encoding", ""), body))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        answer = b'{"success":true,"status":1,"code":200}'  # what each of the vendors' clients looks for
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def events_in(bodies: list[tuple[str, bytes]]) -> int:
    total = 0
    for encoding, body in bodies:
        text = gzip.decompress(body) if encoding == "gzip" else body
        if text.startswith(b"data="):  # Mixpanel's own client
            text = parse_qs(text)[b"data"][0]
        told = json.loads(text)
        if isinstance(told, dict) and "requests" in told:
            total += len(queries(told))
            continue
        listed = told if isinstance(told, list) else told.get("events") or told["batch"]
        total += len([each for each in listed if each.get("type") != "identify"])
    return total


def peak_rss_kb() -> int:
    """Return this program's peak memory. Not ru_maxrss: a child starts with what its parent had."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def client_main(name: str, url: str) -> None:
    """Send everything with one client; print events per second, CPU seconds and peak memory."""
    work = CLIENTS[name](url)
    before_kb = peak_rss_kb()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    took, used = time.perf_counter() - began, time.process_time() - cpu
    peak_kb = peak_rss_kb()
    print(
        json.dumps(
            {
                "per_s": EVENTS / took,
                "cpu_us": used / EVENTS * 1e6,
                "grew_mb": (peak_kb - before_kb) / 1024,
                "peak_mb": peak_kb / 1024,
            }
        )
    )


def measure(name: str) -> dict[str, float]:
    """Return the medians of some rounds; every event must have arrived."""
    rounds = []
    for _ in range(ROUNDS):
        Sink.bodies = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        command = [sys.executable, "-m", "tests.bench.exporters", name, url]
        environ = {**os.environ, "OTEL_USAGE_HOME": os.devnull}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
        server.shutdown()
        server.server_close()
        arrived = events_in(Sink.bodies)
        assert arrived == EVENTS, f"{name}: {arrived} of {EVENTS} arrived"
        rounds.append(
            {
                **json.loads(done.stdout.splitlines()[-1]),
                "requests": len(Sink.bodies),
                "mb": sum(len(b) for _, b in Sink.bodies) / 1e6,
            }
        )
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def main() -> None:
    """Print everything."""
    print(
        f"exporters · {platform.python_implementation()} {platform.python_version()} · {os.cpu_count()} cores · medians"
    )
    named = [(name, lambda given, of=of: translate_named(of, given)) for name, of in OTHERS.items()]
    for name, work in (("ga4", translate_ga4), ("segment", translate_segment), *named):
        us = per_event(work)
        tracemalloc.start()
        given = spans(2_048)
        start = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work(given)
        peak = (tracemalloc.get_traced_memory()[1] - start) / 1e6
        tracemalloc.stop()
        print(f"  translate and encode, {name:8} {us:6.1f} µs CPU per event   peak {peak:5.1f} MB for 2,048 events")
    print(f"  {EVENTS:,} events to a receiver on this machine:")
    for name in CLIENTS:
        found = measure(name)
        print(
            f"  {name:26} {found['per_s']:8,.0f} events/s  {found['cpu_us']:6.1f} µs CPU per event"
            f"  peak {found['peak_mb']:6.1f} MB (+{found['grew_mb']:.1f})"
            f"  {found['requests']:5.0f} requests, {found['mb']:5.1f} MB"
        )


if __name__ == "__main__":
    client_main(*sys.argv[1:]) if len(sys.argv) > 1 else main()
