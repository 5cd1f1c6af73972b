"""Piwik PRO's rules, each named when it is broken, and what its documentation says that it answers."""

from __future__ import annotations

import json

import pytest

from otel_usage.receiver import piwik_pro

from .test_matomo_rules import EVENT, JSON, NOW_S, PAGE, query

SITE = "892d04bd-6e2b-4914-bfb4-bac721b37235"
VIEW = {**PAGE, "idsite": SITE, "ts_n": "otel-usage", "ts_v": "1.0.0"}
CUSTOM = {**EVENT, "idsite": SITE}
# What it has in common with Matomo is tried there.
RULES = [
    (VIEW, {"idsite": "1"}, "id of a site", 400),
    (VIEW, {"cdt": str(NOW_S - 86_401)}, "too old", 200),
    (VIEW, {"apiv": "1"}, "no such parameter", 200),
    (VIEW, {"ca": "1"}, "no such parameter", 200),
    (VIEW, {"cid": "0123456789abcdef"}, "no such parameter", 200),
    (CUSTOM, {"e_v": "100000000001"}, "a number", 200),
    (CUSTOM, {"e_v": "-1"}, "a number", 200),
    (CUSTOM, {"e_a": ""}, "must be text", 200),
]


def answer(payload, path="/ppms.php", headers=JSON):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return piwik_pro.answer(path, headers, body, now_s=NOW_S)


def test_good_requests_to_piwik_pro_have_no_problems():
    """A page view and a custom event."""
    assert (200, []) == answer({"requests": [query(VIEW), query(CUSTOM)]})[::3]


@pytest.mark.parametrize(("of", "change", "problem", "status"), RULES, ids=lambda value: str(value)[:30])
def test_each_rule_of_piwik_pro_is_named_when_broken(of, change, problem, status):
    """One change, and the rule it breaks is named."""
    answered, _, _, broken = answer({"requests": [query({**of, **change})]})

    assert any(problem in line for line in broken), broken
    assert status == answered


@pytest.mark.parametrize(
    ("payload", "path", "headers", "status"),
    [
        (b"nonsense", "/ppms.php", JSON, 400),
        ({"requests": [query(VIEW)], "token_auth": "t"}, "/ppms.php", JSON, 200),
        ({"requests": [query(VIEW)]}, "/ppms.php", {**JSON, "Content-Encoding": "gzip"}, 400),
        ({"requests": [query(VIEW)]}, "/matomo.php", JSON, 404),
        ({"requests": {}}, "/ppms.php", JSON, 400),
    ],
    ids=range(5),
)
def test_what_is_no_request_to_piwik_pro(payload, path, headers, status):
    """What is no list of queries is refused, a token is none of its fields, and other paths are others'."""
    answered, _, _, broken = answer(payload, path, headers)

    assert broken
    assert status == answered
