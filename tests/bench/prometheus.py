"""Whether counters arrive and add up at Prometheus 3: by OTLP with each of its settings, and scraped from the gateway.

Six installations count 1 each, three times. What Prometheus answers, and what its HTTP API says then, is printed: 18 is right.
docs/otlp-backends.md has the table. The Collector is that of ``make collector``; without it the last row is left out.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.collector.gateway import Gateway, binary
from tests.collector.harness import free_port, metrics, post, resource
from tests.hosts import ROOT

INSTALLATIONS, ROUNDS = 6, 3
NAME, SERIES = "usage.count.events.handled", "usage_count_events_handled_total"
PROMOTE = "otlp: {promote_resource_attributes: [app.installation.id]}\n"
NATIVE, CONVERT = "--enable-feature=otlp-native-delta-ingestion", "--enable-feature=otlp-deltatocumulative"
LAST, OVER_TIME = f"sum({SERIES})", f"sum(sum_over_time({SERIES}[1h]))"
CASES = [  # (what is set, more of prometheus.yml, flags, the query that adds up)
    ("nothing", "", [], LAST),
    ("otlp-native-delta-ingestion", "", [NATIVE], OVER_TIME),
    ("otlp-deltatocumulative", "", [CONVERT], LAST),
    ("otlp-deltatocumulative, app.installation.id promoted", PROMOTE, [CONVERT], LAST),
]


class Prometheus:
    """One Prometheus with an OTLP receiver. scraped: the address of what it scrapes once a second, "" for nothing."""

    def __init__(self, path: str, folder: Path, more: str = "", flags: tuple[str, ...] = (), scraped: str = "") -> None:
        self.port = free_port()
        job = f"[{{job_name: usage, honor_labels: true, static_configs: [{{targets: ['{scraped}']}}]}}]"
        settings = f"global: {{scrape_interval: 1s}}\n{more}" + (f"scrape_configs: {job}\n" if scraped else "")
        (folder / "prometheus.yml").write_text(settings)
        self.command = [path, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        self.command += [f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-otlp-receiver", *flags]

    def __enter__(self) -> Prometheus:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready")
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise TimeoutError("Prometheus is not ready")

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def take(self, body: bytes) -> str:
        """Send it one request of metrics, and return what it answers."""
        address = f"http://127.0.0.1:{self.port}/api/v1/otlp/v1/metrics"
        request = urllib.request.Request(address, body, {"Content-Type": "application/x-protobuf"})
        try:
            return str(urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as exc:
            return f"{exc.code} {exc.read().decode().strip()}"

    def query(self, text: str) -> float:
        """Return what its HTTP API says, 0 for nothing."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?query={urllib.parse.quote(text)}"
        result: list[Any] = json.load(urllib.request.urlopen(address))["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0


def requests() -> list[bytes]:
    """Return what the installations send, in order, each with its own times."""
    bodies = []
    for _ in range(ROUNDS):
        for number in range(INSTALLATIONS):
            of = {**resource(), "app.installation.id": f"{number:08x}-0000-4000-8000-000000000000"}
            bodies.append(metrics(1, name=NAME, of=of).SerializeToString())
            time.sleep(0.005)  # Prometheus tells times apart by the millisecond
    return bodies


def main() -> None:
    """Print the table."""
    built = subprocess.run(["sh", str(ROOT / "tests/bench/build-prometheus.sh")], stdout=subprocess.PIPE, text=True)
    if built.returncode:
        print("no Prometheus: left out")
        return
    path = built.stdout.strip()
    print("| what Prometheus is told | it answers | query | of 18 |\n| --- | --- | --- | --- |")
    for setting, more, flags, query in CASES:
        with tempfile.TemporaryDirectory() as folder, Prometheus(path, Path(folder), more, tuple(flags)) as prometheus:
            answers = sorted({prometheus.take(body) for body in requests()})
            print(f"| {setting} | {'; '.join(answers)} | `{query}` | {prometheus.query(query):.0f} |")
    collector = binary()
    if collector is None:
        return
    scraped, own = f"127.0.0.1:{free_port()}", str(free_port())
    environ = {
        "BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "GATEWAY_PROMETHEUS": scraped,
        "GATEWAY_CUMULATIVE_PORT": own,
    }
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(collector, Path(folder), ("gateway.yaml", "cumulative.yaml"), **environ)
        with gateway, Prometheus(path, Path(folder), scraped=scraped) as prometheus:
            answers = sorted({str(post(gateway.http, "/v1/metrics", body)[0]) for body in requests()})
            end = time.monotonic() + 20
            while time.monotonic() < end and prometheus.query(LAST) < INSTALLATIONS * ROUNDS:
                time.sleep(0.2)
            print(
                f"| to scrape the gateway with cumulative.yaml | {'; '.join(answers)} | `{LAST}` | {prometheus.query(LAST):.0f} |"
            )


if __name__ == "__main__":
    main()
