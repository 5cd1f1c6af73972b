"""Play Piwik PRO's bulk tracking: check a request, and answer as its documentation says.

No I/O, and nothing but the standard library. Source of the rules: github.com/PiwikPRO/PPMS-PublicDocs,
data_collection/api/tracking_api.yaml (OpenAPI), read 2026-11-26: the parameters, that ``idsite`` is a UUID and ``_id`` 16
hexadecimal digits, that ``e_v`` is at most 100,000,000,000, that a ``cdt`` in the future is ignored and one of more than a day
needs an authentication that there is none of; a body of ``requests`` as texts; 200, 204 and 400.

Judged by nobody but us, since Piwik PRO's server can't be read: that a body is not compressed, that no request says where
somebody is, that addresses are of ``cli.invalid``, texts of at most 250 characters; and whether a bad request costs the others
of its body, which the documentation does not say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .checks import read_json
from .visits import TrackingRules, events_of, request_problems

__all__ = ["answer", "events_of"]

_FIELDS = frozenset("idsite rec bots _id uid cdt url action_name e_c e_a e_n e_v ts_n ts_v".split())  # noqa: SIM905
_SITE = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RULES = TrackingRules(_FIELDS, _SITE, least=0, most=100_000_000_000, oldest_s=86_400.0)


def answer(
    path: str, headers: Mapping[str, str], body: bytes, *, now_s: float | None = None
) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as Piwik PRO would answer a POST, and what is wrong with it. now_s: Unix seconds."""
    if not path.partition("?")[0].endswith("/ppms.php"):
        return 404, {}, b"", [f"(request): there is no {path}"]
    by_lower_name = {name.lower(): value for name, value in headers.items()}
    if by_lower_name.get("content-encoding", "identity") != "identity":
        return 400, {}, b"", ["(header): Content-Encoding: a body is not compressed"]
    payload, broken_rules = read_json(body, headers, most_bytes=8_000_000)
    requests: Any = payload.get("requests") if isinstance(payload, Mapping) else None
    if not isinstance(requests, list) or not requests:
        return 400, {}, b"", [*broken_rules, "requests: must be a list of queries"]
    broken_rules += [f"{name}: a body has no such field" for name in payload if name != "requests"]
    problems = request_problems(requests, _RULES, now_s=time.time() if now_s is None else now_s)
    broken_rules += [text for _, text in problems]
    return (400 if any(".idsite:" in text for text in broken_rules) else 200), {}, b"", broken_rules
