"""cumulative.yaml: the delta counters of many installations add up to what Prometheus scrapes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.gateway import Gateway
from tests.collector.harness import DEADLINE_S, Backend, free_port, get, metrics, post, resource

INSTALLATIONS = 8
REQUESTS = 5  # of each


class Cumulative:
    """A gateway with cumulative.yaml, and the port that Prometheus would scrape."""

    def __init__(self, otelcol: str, folder: Path) -> None:
        self.port = free_port()
        self.backend = Backend()
        self.gateway = Gateway(
            otelcol,
            folder,
            ("gateway.yaml", "cumulative.yaml"),
            BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{self.backend.port}",
            GATEWAY_PROMETHEUS=f"127.0.0.1:{self.port}",
            GATEWAY_CUMULATIVE_PORT=str(free_port()),
            GATEWAY_CUMULATIVE_SERIES="50",
        )

    def scraped(self, name: str) -> list[tuple[str, float]]:
        """Return (labels, value) of each series of the metric *name*."""
        rows = re.findall(rf"^{name}(\{{.*?\}})? (\S+)", get(self.port, "/metrics")[1], re.M)
        return [(labels, float(value)) for labels, value in rows]

    def wait_sum(self, name: str, expected: float) -> None:
        """Return when the series of *name* add up to *expected*, or can't any more."""
        end = time.monotonic() + DEADLINE_S / 2
        while time.monotonic() < end and sum(value for _, value in self.scraped(name)) < expected:
            time.sleep(0.05)  # nothing tells of it
        assert expected == sum(value for _, value in self.scraped(name))


@pytest.fixture(scope="module")
def cumulative(otelcol: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cumulative]:
    """One for all tests of this module."""
    running = Cumulative(otelcol, tmp_path_factory.mktemp("cumulative"))
    with running.backend, running.gateway:
        yield running


def send_at_once(cumulative: Cumulative, name: str, backwards: bool) -> None:
    """Send from all installations at the same time; with *backwards* the oldest come last, as after days offline."""

    def send(installation: int) -> None:
        of = {**resource(), "app.installation.id": f"{installation:08x}-0000-4000-8000-000000000000"}
        requests = [metrics(1, name=name, of=of) for _ in range(REQUESTS)]
        for number, request in enumerate(requests):
            point = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
            hours = number if backwards else REQUESTS - number
            point.time_unix_nano -= hours * 3_600_000_000_000
            point.start_time_unix_nano -= (hours + installation) * 3_600_000_000_000
            assert 200 == post(cumulative.gateway.http, "/v1/metrics", request.SerializeToString())[0]

    threads = [threading.Thread(target=send, args=(n,)) for n in range(INSTALLATIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("backwards", [False, True])
def test_installations_add_up_whatever_their_times(cumulative: Cumulative, backwards: bool) -> None:
    """Eight installations count at once, with times that overlap and go back: one series, and not one count is missing."""
    name = f"usage.count.pages.{'backwards' if backwards else 'forwards'}"

    send_at_once(cumulative, name, backwards)

    shown = name.replace(".", "_") + "_total"
    cumulative.wait_sum(shown, INSTALLATIONS * REQUESTS)
    [(labels, _)] = cumulative.scraped(shown)
    assert "installation" not in labels
    assert 'usage_field_channel="slack"' in labels


def test_series_are_bounded(cumulative: Cumulative) -> None:
    """A stranger who makes up names gets no more series than the limit."""
    for n in range(80):
        request = metrics(1, name=f"usage.count.stranger.n{n}")
        assert 200 == post(cumulative.gateway.http, "/v1/metrics", request.SerializeToString())[0]
    cumulative.gateway.wait_counters({"otelcol_deltatocumulative_datapoints"})
    end = time.monotonic() + DEADLINE_S / 2
    while time.monotonic() < end and not any('error="limit"' in row for row in cumulative.gateway.counters()):
        time.sleep(0.05)  # nothing tells of it

    shown = len(re.findall(r"^usage_count_stranger_n\d+_total", get(cumulative.port, "/metrics")[1], re.M))
    assert 0 < shown <= 50
    assert any('error="limit"' in row for row in cumulative.gateway.counters())


def test_a_kill_begins_anew_and_loses_nothing_that_waits(otelcol: str, tmp_path: Path) -> None:
    """Killed with counts acknowledged and not yet added up: they are there afterwards, in totals that began again at 0."""
    cumulative = Cumulative(otelcol, tmp_path)
    gateway, name = cumulative.gateway, "usage.count.killed"
    shown = "usage_count_killed_total"
    with cumulative.backend, gateway:
        assert 200 == post(gateway.http, "/v1/metrics", metrics(1, name=name).SerializeToString())[0]
        cumulative.wait_sum(shown, 1)
        gateway.environ["GATEWAY_FLUSH"] = "1h"  # what follows stays in the queue on disk
        gateway.kill()
        gateway.start()
        for _ in range(20):
            assert 200 == post(gateway.http, "/v1/metrics", metrics(1, name=name).SerializeToString())[0]
        gateway.kill()
        gateway.environ["GATEWAY_FLUSH"] = "50ms"
        gateway.start()

        cumulative.wait_sum(shown, 20)
