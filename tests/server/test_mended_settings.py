"""A destination whose address or key is wrong: the relay's clients hold what they have until somebody has mended it."""

from __future__ import annotations

import pytest

from tests.collector.harness import get, post, traces
from tests.delivery.backends import backends, takes
from tests.server.serving import Process


def environ_of(name: str, url: str) -> dict[str, str]:
    """Return the variables of the destination *name*, at *url*."""
    return {
        "ga4": {
            "OTEL_EXPORTER_GA4_MEASUREMENT_ID": "G-ABC1234567",
            "OTEL_EXPORTER_GA4_API_SECRET": "s3cret",
            "OTEL_EXPORTER_GA4_ENDPOINT": url,
        },
        "segment": {"OTEL_EXPORTER_SEGMENT_WRITE_KEY": "wr1tekey", "OTEL_EXPORTER_SEGMENT_ENDPOINT": url},
        "otlp": {"OTEL_EXPORTER_OTLP_ENDPOINT": url},
    }[name]


@pytest.mark.parametrize("name", ["ga4", "segment", "otlp"])
def test_what_a_wrong_key_refuses_waits_at_the_client(name: str) -> None:
    """503 and a minute's Retry-After for each such answer; once it is mended the same request arrives, and once."""
    statuses = [401, 403, 404, 405, 407, 302]
    body = traces([1]).SerializeToString()
    with (
        backends(lambda n, commands: (statuses[n], {}, b"no")) as (vendor,),
        Process([name], **environ_of(name, vendor.url)) as relay,
    ):
        refused = [post(relay.port, f"/{name}/v1/traces", body) for _ in statuses]
        shown = get(relay.port, "/metrics")[1]
        vendor.answer = takes
        mended = post(relay.port, f"/{name}/v1/traces", body)
        repeated = post(relay.port, f"/{name}/v1/traces", body)
        relay.end()

    assert [(503, "60")] * len(statuses) == [(status, headers["retry-after"]) for status, headers, _ in refused]
    assert [200, 200] == [mended[0], repeated[0]]
    assert len(statuses) + 1 == len(vendor.asked)
    assert 1 == sum(vendor.acknowledged.values())
    for status in statuses:
        assert f'failures_total{{destination="{name}",signal="traces",reason="http_{status}"}} 1' in shown
    assert f'failing{{destination="{name}"}} 1' in shown
    assert [f"{name}: can't deliver (HTTP 401); clients are told to try again"] == [
        line.split(" ", 3)[3].strip() for line in relay.log if "can't deliver" in line
    ]


def test_what_is_only_validated_is_taken() -> None:
    """A relay that has GA4 check answers 200, says how many were only checked, and has no client send them again."""
    with backends(lambda n, commands: (200, {}, b'{"validationMessages": []}')) as (vendor,):
        environ = {**environ_of("ga4", vendor.url), "OTEL_EXPORTER_GA4_VALIDATE": "true"}
        with Process(["ga4"], **environ) as relay:
            status, _, body = post(relay.port, "/v1/traces", traces([1]).SerializeToString())

    assert 200 == status
    assert b"validated: 1" in body
