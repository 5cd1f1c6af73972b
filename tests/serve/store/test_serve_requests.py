"""What clients and viewers hear from `otel-usage serve`: the relay's answers, and what is stored by them."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping
from itertools import count as counter

import pytest
import requests

from otel_usage.otlp import json_from_protobuf
from tests.collector.harness import metrics, post, resource, traces
from tests.server.wire import Wire
from tests.server.wire import request as raw_request

from .stores import OLD_VIEWER_TOKEN, ONE, VIEWER_TOKEN, ServeProcess, some_id

ANY = {"authorization": "Bearer any-app"}
VIEWER = {"authorization": f"Bearer {VIEWER_TOKEN}"}
numbers = counter(10_000)  # of runs: each test has its own


def series(server: ServeProcess, name: str) -> float:
    """Return the sum of a metric of the server."""
    text = requests.get(f"{server.url}/metrics", headers=VIEWER, timeout=30).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + "{", name + " ")))


def test_what_is_acknowledged_is_stored_once(shared: ServeProcess) -> None:
    """Protobuf, gzip and JSON, spans and counts; what comes again is answered 200 and stored once."""
    number = next(numbers)
    spans, counts = traces([number]).SerializeToString(), metrics(7).SerializeToString()
    as_json = json.dumps(json_from_protobuf("traces", traces([next(numbers)]).SerializeToString())).encode()
    runs, counted = series(shared, "usage_runs_total"), series(shared, "usage_count_total")
    requests_of = [
        ("traces", spans, {}),
        ("traces", gzip.compress(spans), {"content-encoding": "gzip"}),
        ("metrics", counts, {}),
        ("metrics", counts, {}),
        ("traces", as_json, {"content-type": "application/json"}),
        ("traces", as_json, {"content-type": "application/json"}),
    ]

    answers = [post(shared.port, f"/v1/{signal}", body, {**ANY, **headers}) for signal, body, headers in requests_of]

    assert [200] * 6 == [status for status, _, _ in answers]
    assert [b"", b"", b"", b"", b"{}", b"{}"] == [body for _, _, body in answers]
    assert (2, 7) == (series(shared, "usage_runs_total") - runs, series(shared, "usage_count_total") - counted)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/traces", b"\xff\xff", {}, 400),
        ("/v1/traces", b"{", {"content-type": "application/json"}, 400),
        ("/v1/traces", b"no gzip", {"content-encoding": "gzip"}, 400),
        ("/v1/traces", b"", {"content-encoding": "gzip"}, 400),
        ("/v1/traces", b"x" * (1 << 20) + b"x", {}, 413),
        ("/v1/traces", gzip.compress(bytes(64 << 20)), {"content-encoding": "gzip"}, 413),
        ("/v1/traces", b"\x0a\x00" * 20_000, {}, 413),
        ("/v1/traces", b"x", {"content-type": "text/plain"}, 415),
        ("/v1/traces", b"x", {"content-encoding": "br"}, 415),
        ("/v1/logs", b"", {}, 404),
        ("/v1/traces/../../etc/passwd", b"", {}, 404),
        ("/store/v1/traces", b"", {}, 404),
    ],
)
def test_hostile_requests_are_refused_as_by_the_relay(
    shared: ServeProcess, path: str, body: bytes, headers: Mapping[str, str], status: int
) -> None:
    """The relay's code answers: what can't be taken is refused with a word, and another client is served after it."""
    refused = post(shared.port, path, body, {**ANY, **headers})
    sound = post(shared.port, "/v1/traces", traces([next(numbers)]).SerializeToString(), ANY)

    assert (status, 200) == (refused[0], sound[0])


def test_a_head_or_a_body_that_does_not_end_keeps_nobody_out(shared: ServeProcess) -> None:
    """Clients that stop in the middle wait; others are answered."""
    head = raw_request("/v1/traces", b"x" * 100, "authorization: Bearer any-app")[:-50]
    stalled = [Wire(shared.port).send(head) for _ in range(20)] + [
        Wire(shared.port).send(b"POST /v1/tr") for _ in range(20)
    ]

    sound = post(shared.port, "/v1/traces", traces([next(numbers)]).SerializeToString(), ANY)
    for one in stalled:
        one.close()

    assert 200 == sound[0]


def test_one_bad_record_takes_no_other_with_it(shared: ServeProcess) -> None:
    """An attribute that is not in the table, or not ours: that record alone is rejected, and counted for the client."""
    request = traces([next(numbers)])
    request.MergeFrom(traces([next(numbers)], of={**resource(), "host.name": "pc"}))
    request.MergeFrom(traces([next(numbers)], name="mycli secret"))
    stored = series(shared, "usage_runs_total")

    status, _, body = post(shared.port, "/v1/traces", request.SerializeToString(), ANY)

    assert (200, 1) == (status, series(shared, "usage_runs_total") - stored)
    assert b"attribute: 2" in body


def test_counts_that_cannot_be_added_up_are_rejected(shared: ServeProcess) -> None:
    """Cumulative counters would count twice; run counters repeat the spans, and are no loss."""
    cumulative = metrics(3)
    cumulative.resource_metrics[0].scope_metrics[0].metrics[0].sum.aggregation_temporality = 2
    derived = metrics(3, name="usage.runs", attributes={"usage.command": "scan", "usage.outcome": "success"})
    before = series(shared, "usage_count_total")

    rejected = post(shared.port, "/v1/metrics", cumulative.SerializeToString(), ANY)
    skipped = post(shared.port, "/v1/metrics", derived.SerializeToString(), ANY)

    assert (200, True) == (rejected[0], b"value: 1" in rejected[2])
    assert (200, b"") == (skipped[0], skipped[2])
    assert before == series(shared, "usage_count_total")


# Who may send, and who may look.


@pytest.mark.parametrize(
    ("token", "app", "stored"),
    [("any-app", "mycli", 1), ("mycli-only", "mycli", 1), ("others-only", "mycli", 0), ("others-only", "third", 1)],
)
def test_a_token_is_for_its_apps(shared: ServeProcess, token: str, app: str, stored: int) -> None:
    """Another tenant's token writes nothing of this app: its records are rejected, and its client is told."""
    of = {**resource(), "service.name": app}
    body = traces([next(numbers)], of=of, name=f"{app} report upload").SerializeToString()
    counts = metrics(1, of=of).SerializeToString()
    before = series(shared, "usage_runs_total") + series(shared, "usage_count_total")

    answers = [
        post(shared.port, f"/v1/{signal}", content, {"authorization": f"Bearer {token}"})
        for signal, content in (("traces", body), ("metrics", counts))
    ]

    after = series(shared, "usage_runs_total") + series(shared, "usage_count_total")
    assert [200, 200] == [status for status, _, _ in answers]
    assert [not stored] * 2 == [b"app: 1" in content for _, _, content in answers]
    assert 2 * stored == after - before


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, VIEWER, {"authorization": "Basic any-app"}])
def test_without_a_clients_token_nothing_is_taken(shared: ServeProcess, headers: Mapping[str, str]) -> None:
    """No token, a wrong one, or a viewer's: 401, whatever the path below /v1/."""
    statuses = [post(shared.port, path, b"", headers)[0] for path in ("/v1/traces", "/v1/nothing")]

    assert [401, 401] == statuses


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, ANY, {"authorization": "Basic !"}])
@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/api/erase"), ("POST", "/api/backup")])
def test_a_clients_token_opens_nothing_else(
    shared: ServeProcess, method: str, path: str, headers: Mapping[str, str]
) -> None:
    """Tokens of clients ship with programs, so they open neither numbers nor commands."""
    answer = requests.request(method, shared.url + path, json={}, headers=dict(headers), timeout=30)

    assert (401, 'Basic realm="otel-usage"') == (answer.status_code, answer.headers["www-authenticate"])


def test_viewers_sign_in_as_browsers_do(shared: ServeProcess) -> None:
    """Either token, as a bearer token or as a password; health asks for none."""
    basic = {"authorization": "Basic " + b64encode(f"anybody:{OLD_VIEWER_TOKEN}".encode()).decode()}
    answers = [requests.get(f"{shared.url}/metrics", headers=one, timeout=30) for one in (VIEWER, basic)]
    health = requests.get(f"{shared.url}/healthz", timeout=30)

    assert [200, 200] == [answer.status_code for answer in answers]
    assert (200, "ok\n") == (health.status_code, health.text)


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"content-type": "text/plain"}])
def test_another_site_can_not_have_it_done(shared: ServeProcess, headers: Mapping[str, str]) -> None:
    """A browser sends the password along with what another site makes it send: that is refused."""
    body = json.dumps({"app": "mycli", "installation": ONE})
    given = {**VIEWER, "content-type": "application/json", **headers}
    answer = requests.post(f"{shared.url}/api/erase", body, headers=given, timeout=30)

    assert answer.status_code in (403, 415)


# Commands over HTTP.


def test_an_installation_is_erased_over_http(shared: ServeProcess) -> None:
    """What was stored of it is gone; what is asked for wrongly is said."""
    installation = some_id()
    of = {**resource(installation), "service.name": "mycli"}
    post(shared.port, "/v1/traces", traces([next(numbers), next(numbers)], of=of).SerializeToString(), ANY)

    def erase(content: object) -> tuple[int, str]:
        answer = requests.post(f"{shared.url}/api/erase", json=content, headers=VIEWER, timeout=30)
        return answer.status_code, answer.text

    erased = erase({"app": "mycli", "installation": installation})

    assert (200, 2) == (erased[0], json.loads(erased[1])["removed"]["events"])
    assert (200, '{"removed":{}}') == erase({"app": "mycli", "installation": installation})
    assert [400] * 4 == [
        erase(bad)[0] for bad in ({}, [], {"app": "mycli"}, {"app": "mycli", "installation": "1 OR 1"})
    ]
    assert 413 == erase({"app": "x" * 9_000})[0]


def test_only_what_may_be_records_counts_as_a_refused_request(shared: ServeProcess) -> None:
    """Who opens a page that is not there, or looks without a token, loses no records: no alert is due. A wrong path loses them."""
    before = series(shared, "otel_usage_serve_requests_total")
    for method, path in (
        ("GET", "/wp-login.php"),
        ("GET", "/metrics"),
        ("POST", "/api/erase"),
        ("GET", "/questions/x"),
    ):
        assert requests.request(method, shared.url + path, json={}, timeout=30).status_code in (401, 404)
    between = series(shared, "otel_usage_serve_requests_total")
    for path in ("/v1/logs", "/otlp/v1/traces"):
        assert 404 == post(shared.port, path, b"x", ANY)[0]

    assert (0, 2) == (between - before, series(shared, "otel_usage_serve_requests_total") - between)


def test_labels_of_metrics_are_escaped(shared: ServeProcess) -> None:
    """What clients call things can't break the text that Prometheus reads."""
    text = requests.get(f"{shared.url}/metrics", headers=VIEWER, timeout=30).text
    lines = [line for line in text.splitlines() if line.startswith("usage_")]

    assert all(line.count('"') % 2 == 0 and " " in line for line in lines)
    assert "otel_usage_serve_store_failing 0" in text
