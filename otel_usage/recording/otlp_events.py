"""Write actions, errors, heartbeats and counts as OTLP JSON text: what not every run needs. See otlp_text.py."""

from .otlp_text import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Pairs = list[tuple[str, object]]

DELTA = 1  # AGGREGATION_TEMPORALITY_DELTA of metrics.proto


def metrics_body(
    counters: "Mapping[tuple[Any, ...], int]", dropped: "Mapping[str, int]", start_ns: int, end_ns: int
) -> str:
    """Return OTLP JSON delta sums, comma-separated. counters: ``{(name, (field, value), …): n}``; dropped: ``{reason: n}``."""
    points: dict[tuple[str, str], list[str]] = {}
    rows: list[tuple[str, str, Pairs, int]] = [
        ("usage.count." + key[0], "{item}", [("usage.field." + field, value) for field, value in key[1:]], n)
        for key, n in counters.items()
    ]
    rows += [("usage.dropped", "{record}", [("reason", reason)], n) for reason, n in dropped.items()]
    for name, unit, pairs, n in rows:
        points.setdefault((name, unit), []).append(
            f'{{"startTimeUnixNano":"{start_ns}","timeUnixNano":"{end_ns}","asInt":"{n}","attributes":[{attributes(pairs)}]}}'
        )
    return ",".join(
        [
            f'{{"name":{quote(name)},"unit":"{unit}",'
            f'"sum":{{"aggregationTemporality":{DELTA},"isMonotonic":true,"dataPoints":[{",".join(of)}]}}}}'
            for (name, unit), of in points.items()
        ]
    )


def attributes(pairs: "Pairs") -> str:
    """Return OTLP JSON KeyValues, comma-separated. Takes str, bool, int and lists of str."""
    parts = []
    for key, value in pairs:  # keys are ours or the schema's: nothing to escape
        if value is True or value is False:
            typed = '"boolValue":true' if value else '"boolValue":false'
        elif isinstance(value, str):
            typed = '"stringValue":' + quote(value)
        elif isinstance(value, int):
            typed = f'"intValue":"{value}"'
        else:
            words = ",".join(['{"stringValue":' + quote(word) + "}" for word in value])  # type: ignore[attr-defined]
            typed = '"arrayValue":{"values":[' + words + "]}"
        parts.append('{"key":"' + key + '","value":{' + typed + "}}")
    return ",".join(parts)


def span(trace: str, own: str, parent: str, name: str, start_ns: int, end_ns: int, pairs: "Pairs", failed: bool) -> str:
    """Return one OTLP JSON Span of kind INTERNAL; ids in hexadecimal, *parent* may be ""."""
    return (
        f'{{"traceId":"{trace}","spanId":"{own}",'
        + (f'"parentSpanId":"{parent}",' if parent else "")
        + f'"name":{quote(name)},"kind":1,"startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{end_ns}",'
        f'"attributes":[{attributes(pairs)}],"status":{{' + ('"code":2}}' if failed else "}}")
    )
