"""Check what a host's settings say of one destination: the exporter is loaded, and no connection is opened.

Called where wrong settings are errors (tests, development, ``OTEL_USAGE_STRICT=1``), and by the sender as it builds the
destination.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

from ..setting_error import SettingError
from ..settings.endpoint import check_endpoint
from .installed import CERTIFICATES, GROUPS, TIMEOUT_S, explain_unknown, find_exporters, load_exporter

OTLP_GRPC = (
    "endpoint",
    "headers",
    "protocol",
    "timeout_s",
    "compression",
    "metrics",
)  # keywords of the official exporters that take plain values
OTLP_HTTP = (*OTLP_GRPC, *CERTIFICATES)


def check_destination(name: str, destination: object) -> None:
    """Raise SettingError unless *destination*, an endpoint or keywords, is what the exporter *name* takes.

    The error shows no value but an address: a key may have got into any other keyword by mistake.
    """
    keywords = {"endpoint": destination} if isinstance(destination, str) else destination
    if not isinstance(keywords, Mapping) or not all(isinstance(key, str) for key in keywords):
        kind = type(destination).__name__
        raise SettingError(
            f"destination {name!r} is a {kind}, not an endpoint or a dict {{constructor keyword: value}}"
        )
    points = [] if name == "otlp" else [point for signal in GROUPS if (point := find_exporters(signal).get(name))]
    if not points and name != "otlp":
        raise explain_unknown(name)
    if isinstance(keywords.get("endpoint"), str):
        check_endpoint(name, keywords["endpoint"])
    if name == "otlp":
        _check_otlp(keywords)
    for point in points:
        exporter_class = load_exporter(name, point)
        _check_names(name, keywords, _names_of(exporter_class))
        if hasattr(exporter_class, "check_settings"):  # an exporter that can say what is wrong before it is built
            try:
                exporter_class.check_settings(keywords)
            except SettingError as exc:  # it names variables, which destinations of a host's own do not read
                text = re.sub(r"OTEL_EXPORTER_\w+ \((\w+)=\)", r"\1", str(exc))
                raise SettingError(f"destination {name!r}: {text}") from exc
        else:
            _check_keywords(name, keywords, exporter_class)


def _parameters_of(exporter_class: Any) -> list[Parameter]:
    """Return what an exporter's class takes, [] where it does not say, or takes anything. Any: of whatever kind."""
    # Exporters that check their settings are of our kind, where a class that takes anything passes it on to the next.
    ours = hasattr(exporter_class, "check_settings")
    for taker in exporter_class.__mro__ if ours else (exporter_class,):
        try:
            rows = list(signature(taker).parameters.values())
        except (TypeError, ValueError):
            return []
        if not any(row.kind == row.VAR_KEYWORD for row in rows):
            return rows
    return []


def _names_of(exporter_class: Any) -> list[str]:
    """Return the keywords that an exporter's class takes, [] for any. Any: of whatever kind."""
    rows = _parameters_of(exporter_class)
    return [row.name for row in rows if row.kind in (row.POSITIONAL_OR_KEYWORD, row.KEYWORD_ONLY)]


def _check_names(name: str, keywords: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise SettingError if *keywords* has one that is not of *names*; the error says which is near to it."""
    more = sorted(keywords.keys() - names) if names else []
    if more:
        near = [match for word in more for match in get_close_matches(word, names, 1)]
        hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ";"
        raise SettingError(
            f"destination {name!r} takes no {', '.join(map(repr, more))}{hint} it takes {', '.join(names)}"
        )


def _check_keywords(name: str, keywords: Mapping[str, Any], exporter_class: Any) -> None:
    """Raise SettingError if an exporter's class needs another keyword. Any: of whatever kind."""
    names = _names_of(exporter_class)
    missing = [
        row.name
        for row in _parameters_of(exporter_class)
        if row.name in names and row.default is row.empty and row.name not in keywords
    ]
    if missing:
        raise SettingError(f"destination {name!r} needs {', '.join(map(repr, missing))}")


def _check_otlp(keywords: Mapping[str, Any]) -> None:
    """Raise SettingError unless *keywords* are what `destination` passes to the official OTLP exporters."""
    protocol = keywords.get("protocol", "")
    if protocol not in ("", "grpc", "http/protobuf"):
        raise SettingError("protocol of 'otlp' is not 'http/protobuf' or 'grpc'")
    taken = OTLP_GRPC if protocol == "grpc" else OTLP_HTTP
    _check_names("otlp", keywords, taken)
    if not keywords.get("endpoint"):
        raise SettingError("destination 'otlp' has no endpoint; pass an address such as 'https://usage.example.org'")
    if keywords.get("compression", "gzip") not in ("gzip", "none"):
        raise SettingError("compression of 'otlp' is not 'gzip' or 'none'")
    if keywords.get("metrics", "") not in ("", "none"):
        raise SettingError("metrics of 'otlp' is not 'none'; leave it out for counters too")
    timeout_s = keywords.get("timeout_s", TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s > 0:
        raise SettingError("timeout_s of 'otlp' is not a number of seconds above 0")
    headers = keywords.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(text, str) for row in headers.items() for text in row):
        raise SettingError("headers of 'otlp' is not a dict {name: value} of text")
    for key in ("endpoint", *CERTIFICATES):
        if not isinstance(keywords.get(key, ""), str):
            raise SettingError(f"{key} of 'otlp' is not text")
