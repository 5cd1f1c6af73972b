"""Which spans of a service are exported, with which attributes, and whose they are."""

from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode
from otel_usage_exporters import mark_action, once
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter
from otel_usage_exporters.span_choice import MAX_NAMES, SpanChoice
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage import SettingError

from .servers import GA4, SECRET, action, counter, metrics, point, span

KEY = "a-key-of-some-length"


@pytest.fixture(autouse=True)
def _nothing_was_logged(monkeypatch):
    monkeypatch.setattr(once, "_texts", set())


def exporter(**settings):
    return SegmentSpanExporter(write_key=SECRET, folder="", **settings)


def tracks(exporter, *spans):
    """Return the track messages that *exporter* would send for *spans*."""
    messages = [m for *_, body in exporter.requests_for(spans) for m in json.loads(body)["batch"]]
    return [message for message in messages if message["type"] == "track"]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ("usage", []),
        ("all", ["cart.add", "http", "order.place"]),
        ("order.place", ["order.place"]),
        ("usage, order.place", ["order.place"]),
        (["cart.*", "order.*"], ["cart.add", "order.place"]),
        ("*.place,http", ["http", "order.place"]),
        ("GET /orders/7", ["http"]),
        ("Order.place", []),
        ("order.plac?", []),
    ],
)
def test_spans_by_name(spans, expected, monkeypatch):
    """By name, by pattern, by the name of the event; as a keyword, and as a variable."""
    seen = [span({}, name=name) for name in ("order.place", "cart.add")]
    seen.append(span({"http.request.method": "GET"}, name="GET /orders/7"))
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_SPANS", spans if isinstance(spans, str) else ",".join(spans))

    by_keyword, by_variable = exporter(spans=spans), exporter()

    for each in (by_keyword, by_variable):
        assert expected == sorted(e.name for e in events_from_spans(seen, each._choice)[0])


def test_usage_is_always_exported():
    """Choosing other spans leaves out none that is about use."""
    assert ["Report Upload", "Order Place"] == [
        m["event"] for m in tracks(exporter(spans="order.place"), action(), span({}, name="order.place"))
    ]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (None, {"http_route": "/o/{n}"}),
        ("order.channel", {"order_channel": "web"}),
        ("standard,order.channel", {"http_route": "/o/{n}", "order_channel": "web"}),
        (["order.*"], {"order_channel": "web", "order_note": "see https://a.example/x and (email)"}),
        ([], {}),
    ],
)
def test_attributes_are_an_allow_list(attributes, expected):
    """What is named leaves, nothing else does; what is personal by its form is cut out of it."""
    one = span(
        {
            "http.route": "/o/{n}",
            "order.channel": "web",
            "order.note": "see https://u:p@a.example/x?y=z and ann@example.org",
            "customer": "Ann",
        },
        name="order.place",
    )

    [track] = tracks(exporter(spans="order.place", attributes=attributes), one)

    assert {"duration_ms": 250, "span": "order.place", **expected} == track["properties"]


def test_the_floor_holds_whatever_is_chosen(caplog):
    """Chosen by name or by "all", personal attributes stay; said once, and lifted only by name of a setting."""
    one = span({"enduser.id": "ann", "client.address": "10.1.2.3", "order.channel": "web"}, name="order.place")
    names = "order.channel,enduser.id,client.address"

    [chosen] = tracks(exporter(spans="all", attributes=names), one)
    [everything] = tracks(exporter(spans="all", attributes="all"), one)
    said = caplog.text
    [lifted] = tracks(exporter(spans="all", attributes=names, allow_personal_data=True), one)

    expected = {"duration_ms": 250, "span": "order.place", "order_channel": "web"}
    assert expected == chosen["properties"] == everything["properties"]
    assert {**expected, "enduser_id": "ann", "client_address": "10.1.2.3"} == lifted["properties"]
    assert 1 == said.count("never sent by default, though chosen: client.address, enduser.id")
    assert "ALLOW_PERSONAL_DATA is on" in caplog.text.removeprefix(said)


def test_a_version_is_no_address():
    """Four numbers with dots between are an address, but for those of a version."""
    one = span({"app.version": "1.2.3.4", "app.node": "1.2.3.4"}, name="x")

    [track] = tracks(exporter(spans="x", attributes="app.*"), one)

    assert ("1.2.3.4", "(address)") == (track["properties"]["app_version"], track["properties"]["app_node"])


def test_failures_are_seen():
    """A span that failed has an error type, if only ``_OTHER``: the old semantic conventions have none."""
    failed = TracerProvider().get_tracer("t").start_span("x", attributes={"error.type": "Timeout"})
    failed.end()
    silent = TracerProvider().get_tracer("t").start_span("x")
    silent.set_status(Status(StatusCode.ERROR, "ann is not known"))
    silent.end()

    sent = tracks(exporter(spans="x", attributes="all"), failed, silent)

    assert ["Timeout", "_OTHER"] == [track["properties"]["error_type"] for track in sent]
    assert "ann" not in str(sent)


def test_names_are_bounded(caplog):
    """After so many names further spans have one name for all, which is logged once; names that are known stay."""
    choice = SpanChoice(spans=["*"], prefix="GA4")
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"job.{a}{b}" for a in letters for b in letters]

    events, _ = events_from_spans([span({}, name=name) for name in [*names, names[0]]], choice)

    assert MAX_NAMES + 1 == len({event.name for event in events})
    assert ("other_span", names[0]) == (events[-2].name, events[-1].name)
    [record] = caplog.records
    assert (logging.WARNING, True) == (record.levelno, "more than 400 names" in record.getMessage())


@pytest.mark.parametrize("cls", [GA4SpanExporter, SegmentSpanExporter, SegmentMetricExporter])
@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"user": "enduser.id"}, "USER_KEY"),
        ({"user": "enduser.id", "user_key": "short"}, "USER_KEY"),
        ({"user": {"a": 1}, "user_key": KEY}, "USER"),
        ({"attributes": [1]}, "ATTRIBUTES"),
        ({"spans": {"a": "b"}}, "SPANS"),
    ],
)
def test_wrong_choices(cls, settings, variable):
    """A user's id without a key is refused, as are names that are none; no message shows a value."""
    ids = GA4 if cls is GA4SpanExporter else {"write_key": SECRET}
    with pytest.raises(SettingError, match=f"_{variable} ") as raised:
        cls(**ids, **settings)

    assert "short" not in str(raised.value)


def test_one_client_for_all_and_one_for_each_exclude_each_other():
    """``client_id`` is who all are, ``user`` who each is."""
    with pytest.raises(SettingError, match="not both"):
        exporter(anonymous_id="all", user="enduser.id", user_key=KEY)
    with pytest.raises(SettingError, match="not both"):
        GA4SpanExporter(**GA4, client_id="all", user="enduser.id", user_key=KEY)


def of_user(user, name="order.place", number=1, **more):
    return span({"enduser.id": user} if user else {}, name=name, number=number, **more)


def test_users_are_hashed_with_a_key():
    """One pseudonym per user and key, in span or resource; the id itself is in no byte; without one it is the service's."""
    spans = [of_user("ann", number=1), of_user("bob", number=2), of_user("ann", number=3), of_user("", number=4)]
    chosen = {"spans": "order.place", "attributes": "all", "user": ["missing", "enduser.id"]}

    sent = tracks(exporter(**chosen, user_key=KEY), *spans)
    other = tracks(exporter(**chosen, user_key=KEY + "2"), *spans)

    ids = [track["anonymousId"] for track in sent]
    assert ids[0] == ids[2] != ids[1]
    assert "0a0b0c0d-1111-4222-8333-444455556666" == ids[3]  # the installation of the resource
    assert {ids[0], ids[1]}.isdisjoint({track["anonymousId"] for track in other})
    assert "ann" not in str(sent)
    assert ["app", "library", "ip"] == sorted(
        sent[0]["context"], key=["app", "library", "ip"].index
    )  # no system: the server's


def test_a_resource_may_say_whose_all_its_records_are():
    """A service of one tenant: counts too are the tenant's."""
    tenant = Resource({"service.name": "shop", "tenant.id": "acme"})
    given = metrics(counter("usage.count.hits", [point(1)]), of=tenant)
    made = SegmentMetricExporter(write_key=SECRET, folder="", user="tenant.id", user_key=KEY)
    spans = exporter(user="tenant.id", user_key=KEY)

    [(*_, body)] = made.requests_for(given)
    ids = {message["anonymousId"] for message in json.loads(body)["batch"]}

    assert ids == {tracks(spans, action(of=tenant))[0]["anonymousId"]}
    assert "acme" not in body.decode()


def test_a_raw_id_leaves_where_it_is_said():
    """``send_raw_user``: as ``userId`` at Segment and ``user_id`` at GA4, which both keep apart from their own id."""
    settings = {"spans": "order.place", "user": "enduser.id", "send_raw_user": True}

    [track] = tracks(exporter(**settings), of_user("ann"))
    [(*_, body)] = GA4SpanExporter(**GA4, folder="", **settings).requests_for([of_user("ann")])

    assert ("ann", True) == (track["userId"], track["anonymousId"] != "ann")
    assert "ann" == json.loads(body)["user_id"]


def test_sessions_are_per_user():
    """GA4: each user is a client, in a request of its own, with a session of its own."""
    made = GA4SpanExporter(**GA4, folder="", spans="order.place", user="enduser.id", user_key=KEY)
    now = of_user("ann").end_time
    spans = [of_user("ann", number=1, end_ns=now), of_user("bob", number=2, end_ns=now + 5 * 10**9)]
    spans += [of_user("ann", number=3, end_ns=now + 60 * 10**9)]

    bodies = [json.loads(body) for *_, body in made.requests_for(spans)]

    assert [2, 1] == [len(body["events"]) for body in bodies]
    assert 2 == len({body["client_id"] for body in bodies})
    assert [1, 1] == [len({event["params"]["session_id"] for event in body["events"]}) for body in bodies]
    assert "device" not in bodies[0]


def test_marking_a_span():
    """`mark_action` makes a span an action, exported whatever else is chosen; without a span nothing happens."""
    one = TracerProvider().get_tracer("t").start_span("place")
    mark_action(one, "order.place", channel="web", items=3, page="https://a.example/x?user=ann")
    mark_action(None, "order.place")
    one.end()

    [track] = tracks(exporter(), one)

    assert "Order Place" == track["event"]
    fields = {name: track["properties"][name] for name in ("channel", "items", "page")}
    assert {"channel": "web", "items": 3, "page": "https://a.example/x"} == fields


def test_marking_imports_nothing_heavy():
    """A service's own modules may import it: neither the SDK nor requests comes with it."""
    import subprocess
    import sys

    code = "import sys; from otel_usage_exporters import mark_action; print(sorted(m for m in sys.modules if m[:4] in ('open', 'requ', 'otel')))"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "['otel_usage_exporters', 'otel_usage_exporters.marking']\n" == ended.stdout
