"""Mark a span of one's own as an action, so that exporters of usage send it.

Imports nothing: a span is whatever has ``set_attribute``.
"""

from __future__ import annotations

from typing import Any

KIND, ACTION, FIELD = "usage.kind", "usage.action", "usage.field."


def mark_action(span: Any, name: str, /, **fields: bool | int | float | str) -> None:
    """Mark *span* as the action *name*, with *fields*: the exporters then send it, whatever else they are told to send.

    span: of the OpenTelemetry API, or None; Any: whatever has ``set_attribute``. Nothing happens to one that does not record.
    fields: what you count by: words of which there are few, numbers, truth values. They are sent as they are, but for e-mail
    and IP addresses and the queries of web addresses; so give no names of people, and no free text.

    ::

        from opentelemetry import trace
        from otel_usage_exporters import mark_action

        with tracer.start_as_current_span("place") as span:
            mark_action(span, "order.place", channel="web", articles=3)

    The same without this function: the attributes ``usage.kind`` = ``action``, ``usage.action`` = ``order.place``,
    ``usage.field.channel`` = ``web``, ``usage.field.articles`` = 3.
    """
    if span is None:
        return
    span.set_attribute(KIND, "action")
    span.set_attribute(ACTION, name)
    for field, value in fields.items():
        span.set_attribute(FIELD + field, value)
