"""What the vendors of visits answer, their addresses and settings: what was not tracked is dropped, and nothing is sent twice."""

from __future__ import annotations

import json

import pytest

from otel_usage import SettingError
from otel_usage.delivery.verdict import Verdict

from .named_vendors import KEY, SITE, VISITS
from .servers import run

SPANS = [run(n) for n in range(1, 9)]
MATOMO = VISITS["matomo"]
PIWIK_PRO = VISITS["piwik_pro"]


def says(**answer):
    return (200, {"Content-Type": "application/json"}, json.dumps({"status": "success", **answer}).encode())


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        ({"tracked": 8, "invalid": 0}, ()),
        ({"tracked": 6, "invalid": 2, "invalid_indices": [1, 4]}, (1, 4)),
        ({"tracked": 6, "invalid": 2}, (6, 7)),
        ({"tracked": 5, "invalid": 2, "invalid_indices": [1, 4]}, (5, 6, 7)),
        ({"tracked": 6, "invalid": 2, "invalid_indices": [1, 99]}, (6, 7)),
        ({"tracked": 6, "invalid": 2, "invalid_indices": [1, 1]}, (6, 7)),
        ({"tracked": 0, "invalid": 8, "invalid_indices": [*range(8)]}, tuple(range(8))),
        ({"tracked": 9, "invalid": 0}, ()),
        ({"tracked": "6"}, ()),
    ],
)
def test_matomo_tracks_some(answer, gone, serve):
    """As many as were not tracked are gone, at the places that a superuser's token is told; none is sent again."""
    server = serve(says(**answer))
    dropped = {"refused": len(gone)} if gone else {}

    verdict = MATOMO.exporter(server.url).deliver(SPANS)

    assert (dropped, (), dict.fromkeys(gone, "refused")) == (verdict.dropped, verdict.unsent, verdict.gone)
    assert 1 == len(server.requests)


@pytest.mark.parametrize("of", VISITS.values(), ids=VISITS)
def test_what_may_have_arrived_is_not_sent_again(of, serve):
    """After a 503 in the middle the request is dropped, and those after it are left for later."""
    server = serve(says(tracked=200, invalid=0), (503, {"Retry-After": "60"}, b""))

    verdict = of.exporter(server.url).deliver([run(n) for n in range(1, 501)])

    assert {"http_503": 200} == verdict.dropped
    assert (100, 60.0) == (len(verdict.unsent), verdict.retry_after_s)


def test_matomo_without_a_token_is_sent_none(serve):
    """No token, no field of it; with one it is in the body alone."""
    server = serve(says(tracked=8, invalid=0))

    for token in (None, KEY):
        MATOMO.exporter(server.url, token_auth=token).deliver(SPANS)

    (path, headers, first), (_, _, second) = server.requests
    assert [] == MATOMO.problems(first, headers, path)
    assert {"requests"} == set(json.loads(first))
    assert KEY == json.loads(second)["token_auth"]
    assert KEY not in path + str(headers)


def test_matomos_addresses(serve):
    """``/matomo.php`` is added to an endpoint, unless it ends in ``.php``."""
    server = serve(says(tracked=1, invalid=0))

    for at in ("", "/", "/stats", "/piwik.php", "/proxy/matomo.php"):
        MATOMO.exporter(server.url + at).deliver([run()])

    expected = ["/matomo.php", "/matomo.php", "/stats/matomo.php", "/piwik.php", "/proxy/matomo.php"]
    assert expected == [path for path, _, _ in server.requests]


@pytest.mark.parametrize(
    "wrong",
    [
        {"site_id": "one"},
        {"site_id": 0},
        {"site_id": True},
        {"visitor_id": "0123"},
        {"dimensions": "outcome"},
        {"dimensions": "outcome=0"},
        {"dimensions": {"outcome": 1, "command": 1}},
        {"dimensions": ["outcome"]},
        {"dimensions": {"outcome": True}},
        {"dimensions": {"outcome": 1.5}},
        {"token_auth": "a b"},
        {"visitor_id": "0123456789abcdef", "user": "enduser.id", "user_key": "k" * 16},
    ],
)
def test_matomos_wrong_settings(wrong):
    """Each is an error that names its variable."""
    with pytest.raises(SettingError, match="OTEL_EXPORTER_MATOMO_"):
        MATOMO.exporter("https://example.org", **wrong)


def test_dimensions_as_text_and_as_a_mapping(serve):
    """A variable is text, a configuration file has a mapping."""
    server = serve(says(tracked=1, invalid=0))

    for dimensions in ("outcome=1, exit_code=2", {"outcome": 1, "exit_code": "2"}):
        assert Verdict((), None, {}, 200) == MATOMO.exporter(server.url, dimensions=dimensions).deliver([run()])

    assert [("success", "0")] * 2 == [(e["dimension1"], e["dimension2"]) for e in MATOMO.received(server)]


@pytest.mark.parametrize("body", [b"<html>", b"[" * 60_000, b"[]", b"null", b"\xff"])
def test_an_answer_that_is_none_of_matomos(body, serve):
    """A 200 of something else, or of one that says nothing, is a success, as everywhere."""
    assert Verdict((), None, {}, 200) == MATOMO.exporter(serve((200, {}, body)).url).deliver(SPANS)


def test_piwik_pro_answers_nothing_of_single_requests(serve):
    """200, 202 and 204 without a body are a success of all."""
    server = serve((200, {}, b""), (202, {}, b""), (204, {}, b""))

    verdicts = [PIWIK_PRO.exporter(server.url).deliver(SPANS) for _ in range(3)]

    assert [Verdict((), None, {}, status) for status in (200, 202, 204)] == verdicts


def test_piwik_pros_address_and_site(serve):
    """``/ppms.php`` is added to an endpoint, unless it ends in ``.php``; a site is a UUID, however it is written."""
    server = serve()

    for at in ("", "/ppms.php"):
        PIWIK_PRO.exporter(server.url + at, site_id=SITE.upper().replace("-", "")).deliver([run()])

    assert ["/ppms.php"] * 2 == [path for path, _, _ in server.requests]
    assert {SITE} == {each["idsite"] for each in PIWIK_PRO.received(server)}


@pytest.mark.parametrize("wrong", [{"site_id": "1"}, {"site_id": 7}, {"visitor_id": "x"}, {"dimensions": "outcome=x"}])
def test_piwik_pros_wrong_settings(wrong):
    """Each is an error that names its variable; it has no token."""
    with pytest.raises(SettingError, match="OTEL_EXPORTER_PIWIK_PRO_"):
        PIWIK_PRO.exporter("https://example.org", **wrong)
    with pytest.raises(TypeError):
        PIWIK_PRO.exporter("https://example.org", token_auth=KEY)
