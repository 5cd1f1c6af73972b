"""The fault table: what each exporter retries, drops and counts, whatever goes wrong on the way."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter

from otel_usage.delivery.verdict import Verdict

from . import servers
from .named_vendors import OTHERS, VISITS
from .servers import run

SPANS = [run(1), run(2), run(3)]
ALL = (0, 1, 2)
SECRET = "sh-secret-9"
PAUSES = {"mixpanel": 2.0, "amplitude": 30.0}  # after a 429 that does not say
VENDORS = ["ga4", "segment", *OTHERS]


def ga4(url, **more):
    return GA4SpanExporter(
        measurement_id="G-AB12CD", api_secret=SECRET, endpoint=url, folder="", **{"timeout_s": 5.0, **more}
    )


def segment(url, **more):
    return SegmentSpanExporter(write_key=SECRET, endpoint=url, folder="", **{"timeout_s": 5.0, **more})


def exporter_to(vendor, url, **more):
    return OTHERS[vendor].exporter(url, **more) if vendor in OTHERS else globals()[vendor](url, **more)


@dataclass(frozen=True)
class Row:
    """One line of the table: what happens, and what becomes of the events at GA4, at Segment, and at the other vendors.

    named: at those of named_vendors.py, as at Segment if it is left out; at those of visits as at GA4.
    """

    case: str
    ga4: str
    segment: str
    named: str = ""

    def of(self, vendor):
        return (
            self.ga4
            if vendor in ("ga4", *VISITS)
            else self.named
            if self.named and vendor != "segment"
            else self.segment
        )


RETRY, WAIT, SENT = "retry", "wait", "sent"

# Nothing left: both try again. Something left: GA4 can't know and drops, Segment repeats the ids.
CONNECTION = [
    Row("refused", RETRY, RETRY),
    Row("dns", RETRY, RETRY),
    Row("not_tls", RETRY, RETRY),
    Row("connect_timeout", RETRY, RETRY),
    Row("silent", "unknown_delivery", RETRY),
    Row("hang_up", "unknown_delivery", RETRY),
    Row("half_a_status", "unknown_delivery", RETRY),
    Row("dripping", "unknown_delivery", RETRY),
    Row("half_an_answer", SENT, SENT),
    Row("half_a_body", SENT, SENT),
    Row("endless", SENT, SENT),
]
ANSWERS = [
    Row("200", SENT, SENT),
    Row("204", SENT, SENT),
    Row("302", WAIT, WAIT),
    Row("307", WAIT, WAIT),
    Row("400", "http_400", "http_400"),
    Row("401", WAIT, WAIT),
    Row("403", WAIT, WAIT),
    Row("404", WAIT, WAIT),
    Row("405", WAIT, WAIT),
    Row("407", WAIT, WAIT),
    Row("408", "http_408", RETRY),
    Row("410", "http_410", RETRY, "http_410"),
    Row("413", "http_413", "http_413"),
    Row("429", "http_429", RETRY),
    Row("460", "http_460", RETRY, "http_460"),
    Row("500", "http_500", RETRY),
    Row("501", "http_501", "http_501"),
    Row("502", "http_502", RETRY),
    Row("503", "http_503", RETRY),
    Row("505", "http_505", "http_505"),
]


def expected(fate, status=None):
    if fate in (RETRY, WAIT):
        return Verdict(ALL, None, {}, status, wrong_settings=fate == WAIT)
    return Verdict((), None, {} if fate == SENT else {fate: len(ALL)}, status)


def address_of(case, rude):
    """Return where *case* happens, and the time limit that suits it."""
    if case == "refused":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return f"http://127.0.0.1:{port}", 5.0
    if case == "dns":
        return "https://no-such-host.invalid", 5.0
    if case == "not_tls":
        return rude(servers.not_tls).url.replace("http:", "https:"), 5.0
    return rude(getattr(servers, case)).url, 0.2 if case in ("silent", "dripping") else 5.0


@pytest.fixture
def nobody_accepts():
    """A port whose queue of connections is full: connecting to it takes for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for one in [*waiting, listener]:
        one.close()


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch):
    """Names that must not be looked up elsewhere fail at once, as an unknown name does."""
    real = socket.getaddrinfo

    def resolve(host, *args, **kwargs):
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("row", CONNECTION, ids=lambda row: row.case)
def test_what_a_broken_connection_means_for_each_vendor(row, vendor, rude, nobody_accepts):
    """Nothing sent: tried again. Something sent and no answer: GA4 drops, the others try again with the same ids."""
    url, limit_s = (nobody_accepts, 0.2) if row.case == "connect_timeout" else address_of(row.case, rude)
    exporter = exporter_to(vendor, url, timeout_s=limit_s)
    began = time.monotonic()

    verdict = exporter.deliver(SPANS)

    assert expected(row.of(vendor), verdict.status) == verdict
    assert (verdict.status is not None) == (row.case in ("half_an_answer", "half_a_body", "endless"))
    assert time.monotonic() - began < limit_s + 3


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.case)
def test_answers(row, vendor, serve):
    """Each status is sent, retried or dropped as the table says, and nothing is followed or repeated."""
    elsewhere = serve((200, {}, b""))
    server = serve((int(row.case), {"Location": f"{elsewhere.url}/v1/batch"}, b""))

    verdict = exporter_to(vendor, server.url).deliver(SPANS)

    assert expected(row.of(vendor), int(row.case)) == replace(verdict, retry_after_s=None)
    assert (PAUSES.get(vendor) if row.case == "429" else None) == verdict.retry_after_s
    assert [] == elsewhere.requests
    if row.case != "413" or vendor == "ga4":
        assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("told", "low", "high"),
    [
        ("7", 7, 7),
        ("in 10 minutes", 500, 600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("99999999999999999999", 86_400, 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400, 86_400),
    ],
)
def test_retry_after(told, low, high, serve):
    """Seconds and dates are understood, and never mean more than a day."""
    if told == "in 10 minutes":
        told = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=10), usegmt=True)

    verdict = segment(serve((429, {"Retry-After": told}, b"")).url).deliver(SPANS)

    assert ALL == verdict.unsent
    assert low <= verdict.retry_after_s <= high


@pytest.mark.parametrize("told", ["-5", "soon", "1.5", "٣", "Wed, 99 Foo"])
def test_a_retry_after_that_says_nothing(told, serve):
    """What can't be understood is as if it were not there."""
    answer = (503, {"Retry-After": told.encode().decode("latin-1")}, b"")

    assert segment(serve(answer).url).deliver(SPANS).retry_after_s is None


def test_ga4_leaves_the_rest_after_a_fault(rude):
    """After a request that may or may not have arrived, those not yet sent are left for later, not dropped."""
    spans = [run(n) for n in range(1, 61)]

    verdict = ga4(rude(servers.hang_up).url).deliver(spans)

    assert {"unknown_delivery": 25} == verdict.dropped
    assert tuple(range(25, 60)) == verdict.unsent


def test_ga4_pauses_when_told_to(serve):
    """A 429 drops what it answered, as GA4 may have counted it, and keeps the rest for after the pause."""
    server = serve((204, {}, b""), (429, {"Retry-After": "60"}, b""))

    verdict = ga4(server.url).deliver([run(n) for n in range(1, 61)])

    assert Verdict(tuple(range(50, 60)), 60.0, {"http_429": 25}, 429) == verdict


def test_ga4_goes_on_after_one_bad_request(serve):
    """A 400 is about one request; the others are sent."""
    server = serve((400, {}, b""), (204, {}, b""))

    verdict = ga4(server.url).deliver([run(n) for n in range(1, 61)])

    assert Verdict((), None, {"http_400": 25}, 204) == verdict
    assert 3 == len(server.requests)


@pytest.mark.parametrize("vendor", VENDORS[1:])
def test_what_is_too_large_is_halved(vendor, serve):
    """A server that takes fewer events at once gets fewer; only one that alone is too large is dropped."""
    server = serve((413, {}, b""), (413, {}, b""), (200, {}, b""))

    verdict = exporter_to(vendor, server.url).deliver([run(n) for n in range(1, 9)])

    assert Verdict((), None, {}, 200) == verdict
    assert 5 == len(server.requests)


def test_segment_sees_a_refusal_inside_a_200(serve):
    """Jitsu answers 200 and ``"ok": false`` to what it does not take: that is a drop, not a success."""
    server = serve((200, {}, b'{"ok":false,"errors":["x"]}'))

    assert {"refused": 3} == segment(server.url).deliver(SPANS).dropped


def test_only_the_beginning_of_an_answer_is_read(rude):
    """Of an answer of 100 MB we read 64 KiB; the rest stays where it is."""
    server = rude(servers.endless)

    verdict = segment(server.url).deliver(SPANS)
    server.thread.join(0)

    assert () == verdict.unsent
    assert len(server.received) * 65_536 < 20_000_000


def test_a_proxy_that_refuses_is_no_connection(rude, monkeypatch):
    """Behind a proxy that opens no tunnel nothing was sent to GA4, whatever was said to the proxy."""

    def refuse(connection, server):
        server.received.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    server = rude(refuse)
    monkeypatch.setenv("HTTPS_PROXY", server.url)

    verdict = ga4("https://region1.google-analytics.invalid").deliver(SPANS)

    assert ALL == verdict.unsent
    assert server.received[0].startswith(b"CONNECT region1.google-analytics.invalid:443")
    assert SECRET.encode() not in b"".join(server.received)
