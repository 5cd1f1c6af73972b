"""Matomo's rules, each named when it is broken, and what its tracker would answer."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from otel_usage.receiver import matomo

NOW_S = 1_795_000_000
PAGE = {
    "idsite": "1",
    "rec": "1",
    "bots": "1",
    "_id": "0123456789abcdef",
    "cdt": str(NOW_S),
    "url": "https://cli.invalid/mycli/scan",
    "action_name": "scan",
}
EVENT = {key: text for key, text in PAGE.items() if key != "action_name"} | {
    "e_c": "Action",
    "e_a": "Scan",
    "e_v": "2.5",
}
JSON = {"Content-Type": "application/json"}
RULES = [
    ({"idsite": None}, "id of a site", 1),
    ({"idsite": "x"}, "id of a site", 1),
    ({"rec": "0"}, "must be 1", 0),
    ({"bots": None}, "must be 1", 0),
    ({"_id": "0123"}, "16 hexadecimal", 0),
    ({"_id": None}, "16 hexadecimal", 0),
    ({"url": "scan"}, "no host that there is", 0),
    ({"url": "https://example.org/scan"}, "no host that there is", 0),
    ({"url": "https://[cli.invalid/"}, "no host that there is", 0),
    ({"cdt": "yesterday"}, "Unix seconds", 0),
    ({"cdt": str(NOW_S + 60)}, "in the future", 0),
    ({"cdt": str(NOW_S - 86_401)}, "too old", 1),
    ({"cip": "1.2.3.4"}, "must not be sent", 0),
    ({"hostname": "x"}, "no such parameter", 0),
    ({"dimension0": "x"}, "no such parameter", 0),
    ({"dimension1": "x" * 251}, "after 250", 0),
    ({"action_name": " "}, "must be text", 0),
    ({"action_name": "a\x1b"}, "must be text", 0),
    ({"action_name": None}, "page view or an event", 0),
    ({"e_c": "a", "e_a": "b"}, "page view or an event", 0),
    ({"action_name": None, "e_c": "a"}, "category and an action", 0),
    ({"action_name": None, "e_c": "a", "e_a": "b", "e_v": "many"}, "a number", 0),
]


def query(of):
    return "?" + urlencode(of)


def answer(payload, path="/matomo.php", headers=JSON):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return matomo.answer(path, headers, body, now_s=NOW_S)


def test_good_bulk_requests_have_no_problems():
    """A page view and an event, with and without a token, which a day does not matter to."""
    old = {**PAGE, "cdt": str(NOW_S - 86_400 * 300)}

    for payload in (
        {"requests": [query(PAGE), query(EVENT)]},
        {"requests": [query(old), query(PAGE)], "token_auth": "t"},
    ):
        status, _, says, broken = answer(payload)
        assert (200, []) == (status, broken)
        assert (2, 0) == (json.loads(says)["tracked"], json.loads(says)["invalid"])
    shown = list(matomo.events_of({"requests": [query(PAGE), query(EVENT)]}))
    assert ["scan", "Action / Scan"] == [name for _, name, _ in shown]


@pytest.mark.parametrize(("change", "problem", "invalid"), RULES, ids=lambda value: str(value)[:40])
def test_each_rule_of_matomo_is_named_when_broken(change, problem, invalid):
    """One change, and the rule it breaks is named; most of them Matomo does not tell."""
    changed = {key: text for key, text in {**PAGE, **change}.items() if text is not None}

    status, _, says, broken = answer({"requests": [query(PAGE), query(changed)]})

    assert any(problem in line for line in broken), broken
    assert (200, invalid) == (status, json.loads(says)["invalid"])


def test_places_are_for_a_token():
    """``invalid_indices`` are answered to a token alone; an order that goes back is named."""
    payload = {"requests": [query(PAGE), query({**PAGE, "idsite": "0"}), query({**PAGE, "cdt": str(NOW_S - 9)})]}

    _, _, without, _ = answer(payload)
    _, _, with_token, broken = answer({**payload, "token_auth": "t"})

    assert "invalid_indices" not in json.loads(without)
    assert [1] == json.loads(with_token)["invalid_indices"]
    assert any("visits are built in order" in line for line in broken)


@pytest.mark.parametrize(
    ("payload", "path", "headers", "status"),
    [
        (b"nonsense", "/matomo.php", JSON, 400),
        (b"[]", "/matomo.php", JSON, 400),
        ({"requests": []}, "/matomo.php", JSON, 400),
        ({"requests": [query(PAGE)]}, "/matomo.php", {**JSON, "Content-Encoding": "gzip"}, 400),
        ({"requests": [query(PAGE)]}, "/matomo.php", {"Content-Type": "text/plain"}, 200),
        ({"requests": [query(PAGE)]}, "/index.php", JSON, 404),
        ({"requests": [query(PAGE)], "token_auth": ""}, "/matomo.php", JSON, 200),
        ({"requests": [query(PAGE)], "token": "x"}, "/piwik.php", JSON, 200),
        ({"requests": [query(PAGE)[1:]]}, "/matomo.php", JSON, 200),
        ({"requests": [query(PAGE) + "&rec=1"]}, "/matomo.php", JSON, 200),
        ({"requests": [PAGE]}, "/matomo.php", JSON, 200),
        (b'{"requests":["' + b"x" * 8_000_000 + b'"]}', "/matomo.php", JSON, 413),
    ],
    ids=range(12),
)
def test_what_is_no_bulk_request(payload, path, headers, status):
    """What is no list of queries is refused, what is packed cannot be read, and other paths are others'."""
    answered, _, _, broken = answer(payload, path, headers)

    assert broken
    assert status == answered
