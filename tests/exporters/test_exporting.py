"""Delivering: connections, identities, what is remembered, retries in a program of its own, and what is told."""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
import ssl
import threading
import time

import pytest
import trustme
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult
from otel_usage_exporters import plugins, post
from otel_usage_exporters.ga4 import GA4MetricExporter, GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter
from otel_usage_exporters.settings import parse_endpoint

from otel_usage import SettingError
from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

from . import servers
from .servers import INSTALLATION, action, counter, metrics, point, resource, run, span

SECRET = "sh-secret-9"
GA4 = {"measurement_id": "G-AB12CD", "api_secret": SECRET}
OK = (200, {}, b'{"success":true}')


def ga4(server, **more):
    return GA4SpanExporter(endpoint=server.url, **{**GA4, "folder": "", **more})


def segment(server, **more):
    return SegmentSpanExporter(write_key=SECRET, endpoint=server.url, **{"folder": "", **more})


def messages(server):
    """Return all messages that a server got, after Segment's rules agreed."""
    found = []
    for path, headers, body in server.requests:
        assert [] == segment_wire.answer(path, headers, body)[3]
        found += json.loads(gzip.decompress(body))["batch"]
    return found


def events(server):
    """Return all events that a server got, after GA4's rules agreed."""
    found = []
    for path, _, body in server.requests:
        assert [] == ga4_wire.answer(path, "", body)[3]
        found += json.loads(body)["events"]
    return found


# -- the connection ---------------------------------------------------------------------------------------------


def test_deliveries_share_a_connection(serve):
    """The requests of one delivery, and those of the next, go over one connection."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(n) for n in range(1, 61)])
    exporter.deliver([run(1)])

    assert (4, 1) == (len(server.requests), server.connections)


def test_a_connection_that_was_idle_is_not_used_again(serve, monkeypatch):
    """A server may have closed it, and of a request that went into it nobody could tell whether it arrived."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(1)])
    monkeypatch.setattr(post, "IDLE_S", -1.0)
    exporter.deliver([run(2)])

    assert (2, 2) == (len(server.requests), server.connections)


def test_a_forked_process_opens_connections_of_its_own(serve):
    """Two processes that wrote into one connection would garble both their requests."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(1)])
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(bool(exporter.deliver([run(2)]).unsent))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    exporter.deliver([run(3)])

    assert 0 == status
    assert (3, 2) == (len(server.requests), server.connections)


def test_shutdown_closes_connections(serve):
    """Nothing stays open after it."""
    server = serve((204, {}, b""))
    exporter = ga4(server)
    before = len(os.listdir("/proc/self/fd"))

    exporter.deliver([run(1)])
    exporter.shutdown()

    assert 1 == server.connections
    servers.wait_until(lambda: before == len(os.listdir("/proc/self/fd")))


def test_over_tls(serve, tmp_path, monkeypatch):
    """A certificate that is trusted is; one that is not sends nothing, and is tried again."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = serve(OK, tls=context)

    distrusted = segment(server).deliver([run()])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    trusted = segment(server).deliver([run()])

    assert (0,) == distrusted.unsent
    assert (200, ()) == (trusted.status, trusted.unsent)
    assert 2 == len(messages(server))


def test_through_a_proxys_tunnel(serve, rude, tmp_path, monkeypatch):
    """Behind a company's proxy requests go through its tunnel, and the proxy never sees the key."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ga4.example.invalid").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    server = serve((204, {}, b""), tls=context)

    def tunnel(connection, proxy):
        proxy.received.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            pump = threading.Thread(target=forward, args=(onward, connection), daemon=True)
            pump.start()
            forward(connection, onward, proxy.received)
            pump.join()

    def forward(source, sink, seen=None):
        try:
            while block := source.recv(65_536):
                sink.sendall(block)
                if seen is not None:
                    seen.append(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    proxy = rude(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    verdict = GA4SpanExporter(**GA4, endpoint="https://ga4.example.invalid", folder="").deliver([run()])

    assert (204, ()) == (verdict.status, verdict.unsent)
    assert 1 == len(events(server))
    assert proxy.received[0].startswith(b"CONNECT ga4.example.invalid:443 ")
    assert SECRET.encode() not in b"".join(proxy.received)


def test_a_server_that_closes_after_each_answer(serve):
    """Without a connection to reuse each request opens its own, and answers are read all the same."""
    close = {"Connection": "close"}
    server = serve((200, close, b"{}"), (200, close, b'{"ok":false}'), (200, close, b"{}"))

    verdict = segment(server).deliver([run(n) for n in range(1, 251)])

    assert ({"refused": 100}, 3) == (verdict.dropped, server.connections)


def test_a_netrc_is_not_for_us(serve, tmp_path, monkeypatch):
    """Passwords that the user keeps for a host go nowhere."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve((204, {}, b""))

    ga4(server).deliver([run()])

    assert "Authorization" not in server.requests[0][1]


def test_a_proxy_is_not_for_this_machine(serve, monkeypatch):
    """A server on this machine is asked directly, whatever proxy is set."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert 204 == ga4(serve((204, {}, b""))).deliver([run()]).status


def test_endpoints_are_https_but_on_this_machine():
    """Plain HTTP is for this machine only; what could hold a password or a key is refused, unseen."""
    for good in (
        "https://region1.google-analytics.com",
        "http://127.0.0.1:8000/x",
        "http://localhost:1",
        "http://[::1]:9",
    ):
        assert good == parse_endpoint(good + "/")
    for bad in (
        "http://example.org",
        "ftp://x",
        "example.org",
        "https://u:p@x",
        "https://x?y",
        "https://",
        "http://127.evil.org",
        "https://a b",
    ):
        with pytest.raises(ValueError, match="an https:// address") as raised:
            parse_endpoint(bad)
        assert "evil" not in str(raised.value)


# -- identity ---------------------------------------------------------------------------------------------------


def test_the_identity_of_the_resource_wins_over_the_kept_one(serve):
    """app.installation.id of the resource is who the client is; without it one is kept per service."""
    server = serve(OK)

    segment(server, folder=None).deliver([run(1), run(2, of=resource(installation=None))])
    segment(server, folder=None).deliver([run(3, of=resource(installation=None))])

    first, second, third = [message["anonymousId"] for message in messages(server) if message["type"] == "track"]
    assert INSTALLATION == first != second == third
    kept = os.path.join(os.environ["OTEL_USAGE_HOME"], "services", "mycli", "id")
    with open(kept, encoding="ascii") as file:
        assert file.read().startswith(second)


def test_an_explicit_identity_wins_over_all(serve):
    """anonymous_id and client_id are used as they are, and nothing is kept for them."""
    server, other = serve(OK), serve((204, {}, b""))

    segment(server, anonymous_id="me").deliver([run()])
    ga4(other, client_id="12.34").deliver([run()])

    assert {"me"} == {message["anonymousId"] for message in messages(server)}
    assert "12.34" == json.loads(other.requests[0][2])["client_id"]


def test_without_a_home_an_identity_lives_as_long_as_the_process(serve, monkeypatch, tmp_path):
    """Where nothing can be kept nothing fails, and no file appears in the current folder."""
    monkeypatch.delenv("OTEL_USAGE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    server = serve(OK)
    exporter = segment(server, folder=None)

    exporter.deliver([run(1, of=resource(installation=None))])
    exporter.deliver([run(2, of=resource(installation=None))])

    assert 1 == len({message["anonymousId"] for message in messages(server)})
    assert [] == os.listdir(tmp_path)


def test_a_services_name_can_not_leave_its_folder(serve):
    """A service.name that looks like a path is a name."""
    for name in ("../../x", "..", "/etc"):
        segment(serve(OK), folder=None).deliver([run(1, of=resource(installation=None, app=name))])

    home = os.environ["OTEL_USAGE_HOME"]
    assert ["services"] == os.listdir(home)
    assert {"..%2F..%2Fx", "%2E%2E", "%2Fetc"} == set(os.listdir(os.path.join(home, "services")))


# -- what is remembered -----------------------------------------------------------------------------------------


def test_traits_are_sent_again_only_once_delivered(serve, tmp_path, new_process):
    """identify is repeated until it was delivered, and then not again, in any process."""
    down, server = serve((503, {}, b"")), serve(OK)

    segment(down, folder=str(tmp_path)).deliver([run(1)])
    new_process()
    segment(server, folder=str(tmp_path)).deliver([run(1)])
    new_process()
    segment(server, folder=str(tmp_path)).deliver([run(2)])

    assert ["identify", "track", "track"] == [message["type"] for message in messages(server)]


def test_a_session_outlives_the_process(serve, tmp_path, new_process):
    """Two senders within half an hour report one session; nothing said to be kept is kept with care."""
    server = serve((204, {}, b""))
    now = time.time_ns()

    ga4(server, folder=str(tmp_path)).deliver([run(1, end_ns=now - 20 * 60 * 10**9)])
    new_process()
    ga4(server, folder=str(tmp_path)).deliver([run(2, end_ns=now)])

    assert 1 == len({event["params"]["session_id"] for event in events(server)})
    assert 0o600 == (tmp_path / "ga4-sessions.json").stat().st_mode & 0o777


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"96521315.1950589633": "x"}', "[" * 100_000])
def test_a_broken_memory_is_none(serve, tmp_path, text):
    """A file that is damaged costs a session, not a delivery."""
    (tmp_path / "ga4-sessions.json").write_text(text)

    assert 204 == ga4(serve((204, {}, b"")), folder=str(tmp_path)).deliver([run()]).status


def test_where_nothing_can_be_kept_nothing_fails(serve, tmp_path):
    """A folder that can't be made costs an identify per process, not a delivery."""
    (tmp_path / "file").write_text("")
    server = serve(OK)
    exporter = segment(server, folder=str(tmp_path / "file" / "below"))

    assert 200 == exporter.deliver([run(1)]).status
    assert 200 == exporter.deliver([run(2)]).status
    assert ["identify", "track", "track"] == [message["type"] for message in messages(server)]


def test_threads_may_deliver_at_once(serve):
    """What one thread sends and gets is not mixed up with another's: every event arrives once, under its key."""
    server, down = serve(OK), serve((503, {}, b""))
    exporters = [SegmentSpanExporter(write_key=f"key-{n}", endpoint=server.url, folder="") for n in range(2)]
    failing = segment(down)
    verdicts = []

    def work(n):
        for at in range(10):
            exporter = exporters[n % 2]
            verdicts.append((exporter.deliver([run(n * 100 + at + 1)]).unsent, failing.deliver([run(1)]).unsent))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [((), (0,))] * 40 == verdicts
    assert 40 == len({message["messageId"] for message in messages(server) if message["type"] == "track"})


def test_memory_is_bounded(tmp_path):
    """A thousand installations are remembered, the latest."""
    from otel_usage_exporters.memory import MAX_ENTRIES, Memory

    kept = Memory(str(tmp_path), "x")
    kept.update({str(n): n for n in range(MAX_ENTRIES + 5)})
    kept.update({"5": 0})

    assert MAX_ENTRIES == len(Memory(str(tmp_path), "x").read())
    assert "0" not in kept.read()
    assert "5" == list(kept.read())[-1]


# -- retries in a program of its own ----------------------------------------------------------------------------


def test_segment_tries_again_with_the_same_ids(serve):
    """Stand-alone, a passing failure is retried within the time limit, and the ids are the same."""
    server = serve((503, {"Retry-After": "0"}, b""), OK)

    assert SpanExportResult.SUCCESS == segment(server).export([run(1), run(2)])
    first, second = (json.loads(gzip.decompress(body))["batch"] for _, _, body in server.requests)
    assert [message["messageId"] for message in first] == [message["messageId"] for message in second]


def test_only_what_was_not_sent_is_sent_again(serve):
    """Of two batches the first arrived: only the second is repeated."""
    server = serve(OK, (429, {"Retry-After": "0"}, b""), OK)

    assert SpanExportResult.SUCCESS == segment(server).export([run(n) for n in range(1, 151)])
    ids = [message["messageId"] for message in messages(server)]
    assert 3 == len(server.requests)
    assert 151 == len(set(ids))
    assert 100 + 51 + 51 == len(ids)


def test_ga4_tries_again_only_if_nothing_left(serve, rude):
    """Stand-alone, GA4 repeats nothing that may have arrived."""
    asked = rude(servers.hang_up)

    assert SpanExportResult.FAILURE == ga4(asked).export([run()])
    assert 1 == len(asked.received)

    refused = serve((503, {"Retry-After": "0"}, b""))
    assert SpanExportResult.FAILURE == ga4(refused).export([run()])
    assert 1 == len(refused.requests)


def test_tries_are_few(serve):
    """A server that is always busy is asked four times, then the events are dropped and counted."""
    server = serve((503, {"Retry-After": "0"}, b""))
    exporter = segment(server)

    assert SpanExportResult.FAILURE == exporter.export([run(1), run(2)])
    assert 4 == len(server.requests)
    assert {"undelivered": 2} == exporter.dropped


def test_an_export_keeps_to_its_time(rude, serve):
    """With a silent server, and with one that asks for an hour, export returns within its limit."""
    began = time.monotonic()

    segment(rude(servers.silent), timeout_s=0.3).export([run()])
    segment(serve((429, {"Retry-After": "3600"}, b"")), timeout_s=0.3).export([run()])
    exporter = SegmentMetricExporter(write_key=SECRET, endpoint=rude(servers.silent).url, folder="")
    exporter.export(metrics(counter("usage.count.a", [point(1)])), timeout_millis=300)

    assert time.monotonic() - began < 3


def test_an_export_of_many_requests_keeps_to_its_time(serve):
    """Many requests to a slow server share the time limit; what is left over is dropped, counted."""
    server = serve((204, {}, b""))
    slow = threading.Event()
    server.reply = lambda *_: (slow.wait(0.1), (204, {}, b""))[1]
    exporter = ga4(server, timeout_s=0.5)
    began = time.monotonic()

    assert SpanExportResult.FAILURE == exporter.export([run(n) for n in range(1, 1_001)])
    assert time.monotonic() - began < 3
    assert 0 < len(server.requests) < 20
    assert 1_000 - 25 * len(server.requests) <= sum(exporter.dropped.values()) <= 1_000


def test_shutdown_ends_waiting(serve):
    """After shutdown nobody waits for another try."""
    exporter = segment(serve((503, {}, b"")))
    exporter.shutdown()

    began = time.monotonic()
    assert SpanExportResult.FAILURE == exporter.export([run()])
    assert time.monotonic() - began < 1


def test_metrics_are_delivered_by_position(serve):
    """For metrics, positions count data points in flat order; the run counters are left out."""
    server = serve((503, {}, b""))
    given = metrics(counter("usage.runs", [point(1)]), counter("usage.count.a", [point(1), point(0), point(3)]))

    for exporter in (
        SegmentMetricExporter(write_key=SECRET, endpoint=server.url, folder=""),
        GA4MetricExporter(**GA4, endpoint="http://127.0.0.1:9", folder=""),
    ):
        assert (1, 3) == exporter.deliver(given).unsent


def test_metric_exporters_are_as_the_reader_calls_them(serve):
    """The reader shuts exporters down with a keyword of its own, and asks for flushes."""
    server = serve(OK)
    exporter = SegmentMetricExporter(write_key=SECRET, endpoint=server.url, folder="")

    assert MetricExportResult.SUCCESS == exporter.export(metrics(counter("usage.count.a", [point(2)])), extra=1)
    assert exporter.force_flush()
    exporter.shutdown(timeout=12)
    assert [2] == [message["properties"]["count"] for message in messages(server) if message["type"] == "track"]


# -- what would be sent -----------------------------------------------------------------------------------------


def test_what_is_shown_is_what_is_sent(serve):
    """requests_for gives, without sending, what deliver sends, but for keys and the time of sending."""
    server, other = serve((204, {}, b"")), serve(OK)
    spans = [run(1), action(2)]
    shown = ga4(server).requests_for(spans)
    shown_segment = segment(other).requests_for(spans)
    assert [] == server.requests + other.requests

    ga4(server).deliver(spans)
    segment(other).deliver(spans)

    [(method, address, headers, body)] = shown
    path, got, sent = server.requests[0]
    assert ("POST", server.url + path.replace(SECRET, "REDACTED"), sent) == (method, address, body)
    assert headers.items() <= got.items()
    [(_, address, headers, body)] = shown_segment
    assert other.url + other.requests[0][0] == address
    real = json.loads(gzip.decompress(other.requests[0][2]))
    mine = json.loads(body)
    assert ({**mine, "sentAt": 0, "writeKey": 0}, "REDACTED") == (
        {**real, "sentAt": 0, "writeKey": 0},
        mine["writeKey"],
    )
    assert "Basic REDACTED" == headers["Authorization"]


def test_looking_changes_nothing(serve, tmp_path):
    """requests_for opens no session, learns no traits and sends nothing."""
    exporter = segment(serve(OK), folder=str(tmp_path))

    exporter.requests_for([run()])
    ga4(serve(OK), folder=str(tmp_path)).requests_for([run()])

    assert [] == os.listdir(tmp_path)


# -- validate ---------------------------------------------------------------------------------------------------


def test_validate_asks_the_debug_endpoint_and_records_nothing(serve, caplog):
    """validate sends to the debug endpoint, logs what it says readably, and counts the events as not recorded."""
    server = serve((204, {}, b""))
    server.reply = lambda path, headers, body: ga4_wire.answer(path, "", body.replace(b"command_run", b"_bad"))[:3]

    verdict = ga4(server, validate=True).deliver([run()])

    assert server.requests[0][0].startswith("/debug/mp/collect?")
    assert b'"validation_behavior":"ENFORCE_RECOMMENDATIONS"' in server.requests[0][2]
    assert {"validated": 1} == verdict.dropped
    assert "GA4 validation: events[0].name: Event at index: [0] has invalid name [_bad]" in caplog.text


def test_validate_says_so_if_all_is_well(serve, caplog):
    """No objection is said too, and that nothing was recorded."""
    server = serve((204, {}, b""))
    server.reply = lambda path, headers, body: ga4_wire.answer(path, "", body)[:3]

    ga4(server, validate=True).deliver([run()])

    assert "no objection; nothing was recorded" in caplog.text


def test_validate_with_an_answer_that_is_none(serve, caplog):
    """A debug endpoint that answers something else is told, and fails nothing."""
    verdict = ga4(serve((200, {}, b"<html>")), validate=True).deliver([run()])

    assert {"validated": 1} == verdict.dropped
    assert "answer can't be read" in caplog.text


# -- what is told, and never told -------------------------------------------------------------------------------


def test_one_warning_if_nothing_is_about_use(serve, caplog):
    """A program that exports other spans only is told once, and which variable sends them."""
    server = serve(OK)
    exporter = segment(server)
    other = span({"http.request.method": "GET"}, name="GET /")

    exporter.export([other])
    exporter.export([other])

    [record] = caplog.records
    assert "OTEL_EXPORTER_SEGMENT_SPANS=all" in record.getMessage()
    assert [] == server.requests
    assert SpanExportResult.SUCCESS == segment(server, spans="all").export([other])
    assert "GET" == messages(server)[1]["event"]


def test_other_spans_among_usage_are_no_news(serve, caplog):
    """Where usage is recorded too, other spans are left out without a word, and are no loss."""
    exporter = segment(serve(OK))

    result = exporter.export([run(), span({"a": 1}, name="GET /")])

    assert (SpanExportResult.SUCCESS, [], {}) == (result, caplog.records, exporter.dropped)


@pytest.mark.parametrize("fault", ["hang_up", "half_an_answer", "refused", "400", "500", "header"])
def test_keys_are_never_told(fault, rude, serve, caplog, tmp_path):
    """Whatever happens, at whatever level is logged, keys are in no record, repr, verdict or file."""
    caplog.set_level(logging.DEBUG)
    answers = {"400": (400, {}, b""), "500": (500, {}, b""), "header": (200, {"X y": "z"}, b"")}
    if fault in answers:
        url = serve(answers[fault]).url
    elif fault == "refused":
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
    else:
        url = rude(getattr(servers, fault)).url
    told = []
    for exporter in (
        GA4SpanExporter(**GA4, endpoint=url, folder=str(tmp_path), timeout_s=1),
        SegmentSpanExporter(write_key=SECRET, endpoint=url, folder=str(tmp_path), timeout_s=1),
    ):
        told += [repr(exporter), str(vars(exporter)), repr(vars(exporter._vendor).get("options"))]
        told += [repr(exporter.deliver([run()])), repr(exporter.requests_for([run()]))]
        exporter.export([run()])
        told.append(str(exporter.dropped))

    told += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    told += [path.read_text() for path in tmp_path.iterdir()]
    assert any("urllib3" in record.name for record in caplog.records)
    assert not [text for text in told if SECRET in text]
    assert SECRET not in caplog.text


def test_the_key_reaches_its_destination(serve):
    """The key that no library in between knows is in the address all the same, quoted."""
    server = serve((204, {}, b""))

    GA4SpanExporter(measurement_id="G-AB12CD", api_secret="a&b=c/%", endpoint=server.url, folder="").deliver([run()])

    assert "/mp/collect?measurement_id=G-AB12CD&api_secret=a%26b%3Dc%2F%25" == server.requests[0][0]


def test_a_firebase_id_keeps_its_colons(serve):
    """GA4 does not find an app stream whose id's colons are quoted."""
    server = serve((204, {}, b""))

    GA4SpanExporter(firebase_app_id="1:23:ios:0a", api_secret="s", endpoint=server.url, folder="").deliver([run()])

    assert "/mp/collect?firebase_app_id=1:23:ios:0a&api_secret=s" == server.requests[0][0]
    assert {"app_instance_id"} <= json.loads(server.requests[0][2]).keys()


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "given", "variable"),
    [
        (GA4SpanExporter, {"measurement_id": "UA-1", "api_secret": SECRET}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (GA4SpanExporter, {"measurement_id": SECRET, "api_secret": "G-AB12CD"}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (GA4SpanExporter, {"measurement_id": "G-AB12CD"}, "OTEL_EXPORTER_GA4_API_SECRET"),
        (GA4SpanExporter, {**GA4, "firebase_app_id": "1:2:ios:a"}, "OTEL_EXPORTER_GA4_FIREBASE_APP_ID"),
        (GA4SpanExporter, {**GA4, "screens": "screen_view"}, "OTEL_EXPORTER_GA4_SCREENS"),
        (GA4SpanExporter, {**GA4, "endpoint": "http://example.org"}, "OTEL_EXPORTER_GA4_ENDPOINT"),
        (GA4SpanExporter, {**GA4, "timeout_s": 0}, "OTEL_EXPORTER_GA4_TIMEOUT_S"),
        (GA4SpanExporter, {**GA4, "validate": "maybe"}, "OTEL_EXPORTER_GA4_VALIDATE"),
        (GA4MetricExporter, {"api_secret": SECRET}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (SegmentSpanExporter, {"write_key": ""}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
        (SegmentSpanExporter, {"write_key": SECRET + " x"}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
        (SegmentSpanExporter, {"write_key": SECRET, "spans": "some"}, "OTEL_EXPORTER_SEGMENT_SPANS"),
        (SegmentMetricExporter, {"write_key": SECRET, "names": "a"}, "OTEL_EXPORTER_SEGMENT_NAMES"),
    ],
)
def test_wrong_settings_in_code_raise(cls, given, variable):
    """In code a wrong or missing setting is a SettingError that names the variable, and shows no value."""
    with pytest.raises(SettingError, match=f"{variable} .*expected ") as raised:
        cls(**given)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("cls", [GA4SpanExporter, GA4MetricExporter, SegmentSpanExporter, SegmentMetricExporter])
def test_without_any_setting_an_exporter_is_inert(cls, caplog):
    """Named in OTEL_TRACES_EXPORTER and not configured: one error, no exception, and what comes is dropped, counted."""
    exporters = [cls(), cls()]
    given = metrics(counter("usage.count.a", [point(1)])) if "Metric" in cls.__name__ else [run()]

    verdict = exporters[0].deliver(given)

    [record] = caplog.records
    assert logging.ERROR == record.levelno
    assert "is not set: expected" in record.getMessage()
    assert {"misconfigured": 1} == verdict.dropped == exporters[0].dropped
    assert [] == exporters[0].requests_for(given)
    assert exporters[0].export(given).name == "FAILURE"


@pytest.mark.parametrize(
    ("cls", "given", "text"),
    [
        (plugins.GA4SpanExporter, {"measurement_id": "G-AB12CD"}, "OTEL_EXPORTER_GA4_API_SECRET"),
        (plugins.GA4MetricExporter, {**GA4, "timeout_s": "soon"}, "OTEL_EXPORTER_GA4_TIMEOUT_S"),
        (plugins.SegmentSpanExporter, {"writekey": SECRET, "write_key": SECRET}, "unknown setting writekey"),
        (plugins.SegmentMetricExporter, {"write_key": ["x"]}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
    ],
)
def test_what_entry_points_name_never_raises(cls, given, text, caplog):
    """From outside a program a wrong setting is one error in the log: an exception would end its other exporters."""
    exporter = cls(**given)

    assert text in caplog.text
    assert SECRET not in caplog.text
    assert text in exporter.problem


def test_variables_and_keywords_pair_up(monkeypatch, serve):
    """Every keyword has a variable, published for opentelemetry-instrument; a keyword wins."""
    import inspect
    from importlib.metadata import entry_points

    for prefix, classes in (
        ("GA4", (GA4SpanExporter, GA4MetricExporter)),
        ("SEGMENT", (SegmentSpanExporter, SegmentMetricExporter)),
    ):
        [point] = entry_points(group="opentelemetry_environment_variables", name=prefix.lower())
        published = {name for name in dir(point.load()) if name.startswith("OTEL_")}
        for cls in classes:
            keywords = set(inspect.signature(cls).parameters)
            assert published == {f"OTEL_EXPORTER_{prefix}_{keyword.upper()}" for keyword in keywords}
    server = serve(OK)
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_WRITE_KEY", "from-env")
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_NAMES", "report.upload=Report Uploaded, x = Y")
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_FOLDER", "")

    SegmentSpanExporter().deliver([action()])
    SegmentSpanExporter(write_key="given").deliver([action()])

    keys = [json.loads(gzip.decompress(body))["writeKey"] for _, _, body in server.requests]
    assert ["from-env", "given"] == keys
    assert "Report Uploaded" == messages(server)[1]["event"]


def test_the_address_of_a_compatible_server(serve):
    """A server's root, and a batch address of its own, are both understood."""
    server = serve(OK)

    for endpoint in (server.url, server.url + "/", server.url + "/data", server.url + "/v1/batch"):
        SegmentSpanExporter(write_key="k", endpoint=endpoint, folder="").deliver([run()])

    assert ["/v1/batch", "/v1/batch", "/data/v1/batch", "/v1/batch"] == [path for path, _, _ in server.requests]


def test_nothing_is_sent_for_nothing(serve):
    """No event, no request, no connection."""
    server = serve(OK)

    assert SpanExportResult.SUCCESS == segment(server).export([])
    assert 0 == server.connections


def test_posting_names_no_error_by_its_text():
    """Errors of the libraries in between hold the address: only the kind of fault is kept."""
    answer = post.Post()("http://127.0.0.1:9/x?api_secret=shh", {}, b"{}", timeout_s=1.0)

    assert (False, "refused") == (answer.sent, answer.fault)
    assert "shh" not in repr(answer)


# -- within a time ----------------------------------------------------------------------------------------------


def test_nothing_is_begun_after_the_limit(serve):
    """What is not begun within the limit is unsent; a request that was begun is not cut short by it."""
    server = serve()
    server.reply = lambda *_: time.sleep(0.3) or (204, {}, b"")

    verdict = ga4(server).deliver([run(n) for n in range(1, 101)], within_s=0.4)

    assert (50, {}) == (len(verdict.unsent), verdict.dropped)  # two requests of 25: 0.6 s
    assert 2 == len(server.requests)


def test_nothing_is_begun_after_a_shutdown(serve):
    """An exporter that was shut down leaves the rest unsent, and loses nothing of it."""
    server = serve((204, {}, b""))
    exporter = ga4(server)
    exporter.shutdown()

    verdict = exporter.deliver([run(n) for n in range(1, 31)])

    assert (tuple(range(30)), {}, 0) == (verdict.unsent, verdict.dropped, len(server.requests))


def test_what_is_dropped_has_its_position(serve):
    """The verdict says which were dropped, not only how many: by the translation, and by an answer."""
    now = time.time_ns()
    server = serve((400, {}, b""), (204, {}, b""))
    spans = [run(n, end_ns=now + (10**15 if n == 3 else 0)) for n in range(1, 41)]

    verdict = ga4(server).deliver(spans)

    refused = dict.fromkeys([*range(2), *range(3, 26)], "http_400")
    assert {2: "future", **refused} == verdict.gone
    assert {"future": 1, "http_400": 25} == verdict.dropped
