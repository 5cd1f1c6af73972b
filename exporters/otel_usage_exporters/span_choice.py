"""Which spans of no usage kind become events, with which attributes, and whose they are: what the settings of a service say.

ALGORITHM  of one span:
           1. Its event's name and label come from span_names.py.
           2. It is chosen if one of the patterns of ``spans`` is its own name or its event's.
           3. Of its attributes those leave that ``attributes`` names, but for those that floor.py holds back; what is personal
              by its form is cut out of texts. ``allow_personal_data`` lifts both.
           4. A process uses at most `MAX_NAMES` names for such events. Beyond that it is `span_names.OTHER` for all others.

RACES      Exporters run in a thread of their own, and may be asked for requests in another: the set of names only grows, and two
           threads that add at once may let it have one name too many.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from .floor import holds_back, without_personal
from .once import log_once
from .span_names import EVENTS, OTHER, known_method, name_of

# GA4: 500 distinct names of events, per user of an app stream (Analytics Help 9267744, read 2026-11-22), of which this leaves 100
# for what is declared. For Segment each is a table in a warehouse.
MAX_NAMES = 400
# What leaves of a chosen span unless ``attributes`` says otherwise: few values each, and nobody's.
DEFAULT_ATTRIBUTES = (
    "http.request.method", "http.method", "http.route", "url.template", "http.response.status_code", "http.status_code",
    "db.system.name", "db.system", "db.operation.name", "db.operation", "db.collection.name", "db.sql.table",
    "db.response.status_code", "messaging.system", "messaging.operation.name", "messaging.operation.type",
    "messaging.operation", "messaging.destination.template", "messaging.batch.message_count", "rpc.system.name",
    "rpc.system", "rpc.service", "rpc.method", "rpc.response.status_code", "rpc.grpc.status_code",
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model", "gen_ai.response.model",
    "gen_ai.response.finish_reasons", "gen_ai.tool.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens",
    "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "mcp.method.name", "graphql.operation.type",
    "faas.trigger",
)  # fmt: skip
STANDARD = "standard"  # in ``attributes``: all of these
_METHODS = frozenset({"http.request.method", "http.method"})
_NEVER_FIELDS = frozenset({"error.type"})  # it is a parameter of all events already


class Patterns:
    """Names, in which ``*`` stands for any characters.

    >>> "cart.add" in Patterns(["order.place", "cart.*"])
    True
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.names = frozenset([pattern for pattern in patterns if "*" not in pattern])
        parts = [".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns if "*" in pattern]
        self._wild = re.compile("|".join(parts), re.DOTALL) if parts else None

    def __contains__(self, name: str) -> bool:
        return name in self.names or bool(self._wild and self._wild.fullmatch(name))

    def __bool__(self) -> bool:
        return bool(self.names or self._wild)


class SpanChoice:
    """What is chosen, see the head of this module. Without keywords: spans about use alone.

    spans, attributes: patterns. personal: lift the floor. user: attributes that say whose a span is, the first that is there.
    user_key: to hash it with; raw_user: send it as it is, too. prefix: of the vendor's variables, for what is logged.
    """

    def __init__(
        self,
        *,
        spans: Sequence[str] = (),
        attributes: Sequence[str] = DEFAULT_ATTRIBUTES,
        personal: bool = False,
        user: Sequence[str] = (),
        user_key: str = "",
        raw_user: bool = False,
        prefix: str = "",
    ) -> None:
        self.spans = Patterns(spans)
        self.user = tuple(user)
        self._attributes = Patterns(attributes)
        self._personal = personal
        self._user_key = user_key.encode()
        self._raw_user = raw_user
        self._prefix = prefix
        self._names: set[str] = set()

    def warnings(self) -> list[str]:
        """Return what a person should hear about these settings, one sentence each."""
        variable = f"OTEL_EXPORTER_{self._prefix}_ALLOW_PERSONAL_DATA"
        if self._personal:
            return [f"{variable} is on: chosen attributes leave even if they are addresses, queries or users' ids"]
        held = sorted(filter(holds_back, self._attributes.names))
        return [f"never sent by default, though chosen: {', '.join(held)}; see {variable}"] if held else []

    def event_of(self, span: ReadableSpan, attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the event's name and fields for a span of no usage kind, None if it was not chosen. Any: attribute values."""
        if not self.spans:
            return None
        event, label = name_of(span.name, span.kind, attributes)
        if span.name not in self.spans and event not in self.spans:
            return None
        if event not in EVENTS and span.name in self.spans.names:
            event = label = self.cleaned(span.name)  # it was named in full, so there are not many
        fields = {"span": label} if label else {}
        fields.update(self._chosen(attributes))
        return self._within_bounds(event), fields

    def cleaned(self, value: Any) -> Any:
        """Return *value* as it may leave. Any: an attribute value."""
        if self._personal:
            return value
        if isinstance(value, str):
            return without_personal(value)
        if isinstance(value, (list, tuple)):
            return [without_personal(each) if isinstance(each, str) else each for each in value]
        return value

    def user_of(self, *attributes: Mapping[str, Any]) -> tuple[str, str]:
        """Return (pseudonym, the user's own id if it may leave), "" twice if nothing says whose it is. Any: attribute values.

        attributes: of the span, then of its resource.
        """
        for name in self.user:
            for mapping in attributes:
                value = mapping.get(name)
                if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                    user = str(value)
                    digest = hmac.new(self._user_key, user.encode("utf-8", "replace"), sha256)
                    return digest.hexdigest()[:32], user if self._raw_user else ""
        return "", ""

    def _chosen(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        fields = {}
        for name, value in attributes.items():
            if not isinstance(name, str) or name not in self._attributes or name in _NEVER_FIELDS:
                continue
            if self._personal:
                fields[name] = value
            elif not holds_back(name):
                if name in _METHODS and isinstance(value, str):
                    value = known_method(value)
                # A version may have four numbers, as addresses of IPv4 have.
                fields[name] = value if name.endswith("version") else self.cleaned(value)
        return fields

    def _within_bounds(self, event: str) -> str:
        if event not in self._names:
            if len(self._names) >= MAX_NAMES:
                text = f"more than {MAX_NAMES} names of spans: the events of all further ones are named {OTHER}"
                log_once(logging.getLogger(f"otel_usage_exporters.{self._prefix.lower()}"), logging.WARNING, text)
                return OTHER
            self._names.add(event)
        return event


USAGE_ONLY = SpanChoice()
