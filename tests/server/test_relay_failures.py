"""How failures are answered and logged: wrong paths and methods, refusals for good, and passing faults."""

from __future__ import annotations

import pytest
from google.rpc.status_pb2 import Status

from tests.collector.harness import DEADLINE_S, post, traces
from tests.server.serving import TRACES, Serving, send


@pytest.mark.parametrize("path", ["//fake/v1/traces", "/fake/v1/traces/", "/fake//v1/traces"])
def test_slashes_too_many_are_none(path: str) -> None:
    """An address that ends with a slash, which a Collector then has two of, leads where it was meant to."""
    with Serving() as serving:
        status, headers, _ = post(serving.port, path, traces([1]).SerializeToString(), {"host": "evil.example"})

        assert (200, None, [0 + 1]) == (status, headers.get("location"), serving.fake.numbers())


def test_what_is_refused_for_good_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A Collector throws away what is answered so: the log says why, and what would be right, and not more."""
    with Serving(tokens=("one",)) as serving:
        for _ in range(5):
            send(serving, 1)
            post(serving.port, "/ga4/v1/traces", b"", {"authorization": "Bearer one"})
            post(serving.port, "/v1/traces%0a%0dx", b"", {"authorization": "Bearer one"})
        counted = serving.relay.metrics.value("requests_total", code="404")

    said = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert [
        "refused a request for good, its data is lost: HTTP 401, no bearer token came with it",
        "refused a request for good, its data is lost: HTTP 404, no such path; there are /v1/traces, "
        "/v1/metrics, /fake/v1/traces, /fake/v1/metrics",
    ] == said
    assert 10 == counted


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_method_is_answered_as_all_failures_are(as_json: bool) -> None:
    """405 is a google.rpc.Status as well."""
    import http.client
    import json

    kind = "application/json" if as_json else "application/x-protobuf"
    with Serving() as serving:
        connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=DEADLINE_S)
        connection.request("PUT", TRACES, b"", {"content-type": kind})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()

    told = json.loads(said) if as_json else {"code": Status.FromString(said).code}
    assert (405, kind, 12) == (answer.status, answer.headers["content-type"], told["code"])


def test_a_fault_that_passes_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory a request fails, and the next may not: 503. Any other fault would come back: see test_relay_deliveries."""
    with Serving() as serving:

        def full(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(serving.relay.decoder, "decode", full)
        status, headers, _ = send(serving, 1)

    assert (503, "1") == (status, headers["retry-after"])
