"""Play Matomo's bulk tracking: check a request, and answer as its tracker does.

No I/O, and nothing but the standard library. Sources of the rules, of github.com/matomo-org, read 2026-11-26:

- matomo, plugins/BulkTracking/Tracker/Requests.php: a bulk request is a body with ``"requests"``, not at its beginning, and is
  parsed as JSON: nothing unpacks it. A text without a query is left out, silently.
- Handler.php: a request that breaks a rule is counted as invalid, and the others are tracked, in one transaction.
- Response.php: what is answered; ``invalid_indices`` to a superuser's token only, which is what any token stands for here.
- matomo, core/Tracker/Request.php: ``idsite``; ``_id``, of another length it is ignored, silently; ``cdt``, in the future and
  after 20 years it is ignored, after a day it needs a token.
- matomo, plugins/Events/Actions/ActionEvent.php: an event has a category and an action. CustomDimensionsRequestProcessor.php:
  250 characters.
- developer-documentation, docs/5.x/tracking-api.md: the parameters, ``bots``, ``ca``.

Judged by nobody but us: that no request says where somebody is, and that addresses are of ``cli.invalid``. Whether the site
exists, and which custom dimensions it has, only the real one knows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from .checks import read_json
from .visits import TrackingRules, events_of, request_problems

__all__ = ["answer", "events_of"]

_DAY_S = 86_400.0
_FIELDS = frozenset("idsite rec apiv bots ca _id uid cdt url action_name e_c e_a e_n e_v".split())  # noqa: SIM905
_JSON = {"Content-Type": "application/json"}


def answer(
    path: str, headers: Mapping[str, str], body: bytes, *, now_s: float | None = None
) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as Matomo would answer a POST, and what is wrong with it. now_s: Unix seconds."""
    if not path.partition("?")[0].endswith(("/matomo.php", "/piwik.php")):
        return 404, {}, b"", [f"(request): there is no {path}"]
    by_lower_name = {name.lower(): value for name, value in headers.items()}
    if by_lower_name.get("content-encoding", "identity") != "identity":
        return 400, {}, b"", ["(header): Content-Encoding: PHP unpacks no body"]
    payload, broken_rules = read_json(body, headers, most_bytes=8_000_000)
    if any(problem.startswith("(size)") for problem in broken_rules):
        return 413, {}, b"", broken_rules
    requests: Any = payload.get("requests") if isinstance(payload, Mapping) else None
    if not isinstance(requests, list) or not requests or body.find(b'"requests"') < 1:
        return 400, {}, b"", [*broken_rules, "requests: must be a list of queries"]
    broken_rules += [f"{name}: a body has no such field" for name in payload if name not in ("requests", "token_auth")]
    token = payload.get("token_auth", "")
    if "token_auth" in payload and (not isinstance(token, str) or not token):
        broken_rules.append("token_auth: must be a token")
    oldest_s = 20 * 365 * _DAY_S if token else _DAY_S
    rules = TrackingRules(_FIELDS, "[1-9][0-9]{0,9}", float("-inf"), float("inf"), oldest_s)
    problems = list(request_problems(requests, rules, now_s=time.time() if now_s is None else now_s))
    places = sorted({place for place, text in problems if ".idsite:" in text or "too old" in text})
    says: dict[str, Any] = {"status": "success", "tracked": len(requests) - len(places), "invalid": len(places)}
    if token:
        says["invalid_indices"] = places
    return 200, _JSON, json.dumps(says).encode(), [*broken_rules, *[text for _, text in problems]]
