"""The relay's metrics in the text format of Prometheus."""

from __future__ import annotations

from otel_usage.server.prometheus import RelayMetrics
from tests.collector.harness import pairs


def test_metrics_are_in_the_format_of_prometheus() -> None:
    """Every line is a comment or a sample; a histogram's buckets add up."""
    told = RelayMetrics()
    told.add("sent_total", 3, destination="ga4")
    told.add("sent_total", 4, destination="ga4")
    told.observe(0.003, destination="ga4")
    told.observe(99.0, destination="ga4")

    lines = told.format().splitlines()

    assert 'otel_usage_relay_sent_total{destination="ga4"} 7' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="0.005"} 1' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="30.0"} 1' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="+Inf"} 2' in lines
    assert 'otel_usage_relay_request_duration_seconds_count{destination="ga4"} 2' in lines
    assert all(line.startswith(("# HELP ", "# TYPE ", "otel_usage_relay_", "process_")) for line in lines)
    assert pairs({"a": 1})
