"""What the classes that users and entry points name look like: signatures, kinship, and what naming them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from otel_usage_exporters import ga4, plugins, segment
from otel_usage_exporters.exporting import Exporter, Lenient
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter

COMMON = {
    "spans": "str | Sequence[str] | None",
    "attributes": "str | Sequence[str] | None",
    "allow_personal_data": "bool | None",
    "user": "str | Sequence[str] | None",
    "user_key": "str | None",
    "send_raw_user": "bool | None",
    "derived": "bool | None",
    "timeout_s": "float | None",
    "folder": "str | None",
}
GA4 = {
    "measurement_id": "str | None",
    "firebase_app_id": "str | None",
    "api_secret": "str | None",
    "client_id": "str | None",
    "endpoint": "str | None",
    "screens": "str | None",
    "validate": "bool | None",
    "debug": "bool | None",
    **COMMON,
}
SEGMENT = {
    "write_key": "str | None",
    "anonymous_id": "str | None",
    "endpoint": "str | None",
    "names": "Mapping[str, str] | None",
    **COMMON,
}


@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (ga4.GA4SpanExporter, GA4),
        (ga4.GA4MetricExporter, GA4),
        (segment.SegmentSpanExporter, SEGMENT),
        (segment.SegmentMetricExporter, SEGMENT),
    ],
)
def test_keywords_are_named_and_typed(cls: type[Exporter], keywords: dict[str, str]) -> None:
    """In code every setting is a keyword with a type, and None where it is left out: editors show them."""
    expected = "(*, " + ", ".join(f"{name}: '{annotation}' = None" for name, annotation in keywords.items()) + ")"

    assert f"{expected} -> 'None'" == str(inspect.signature(cls))


@pytest.mark.parametrize("wrong", ["writekey", "sel"])
def test_a_keyword_that_there_is_not(wrong: str) -> None:
    """It is the TypeError of any function, and no frame that a tool would show holds a key."""
    secret = "".join(["s3cret", "-of-", "segment"])
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'") as caught:
        segment.SegmentSpanExporter(write_key=secret, **{wrong: "x"})  # type: ignore[arg-type]

    frames = [row.frame for row in caught.traceback][1:]  # the first is this test's
    assert [] == [frame for frame in frames if secret in repr(frame.f_locals)]


@pytest.mark.parametrize("signal", ["traces", "metrics"])
@pytest.mark.parametrize("name", ["ga4", "segment"])
def test_entry_points_name_lenient_classes(name: str, signal: str) -> None:
    """What a configuration names takes any keyword, and is of the kind that code names."""
    [point] = entry_points(group=f"opentelemetry_{signal}_exporter", name=name)
    kind = UsageSpanExporter if signal == "traces" else UsageMetricExporter

    cls = point.load()

    assert f"otel_usage_exporters.{name}" == point.module
    assert "(**settings: 'Any') -> 'None'" == str(inspect.signature(cls))
    assert issubclass(cls, Lenient)
    assert issubclass(cls, kind)
    assert issubclass(cls, getattr(sys.modules[point.module], cls.__name__.removeprefix("Lenient")))


def test_the_names_of_before_are_forwarded() -> None:
    """Whoever names `otel_usage_exporters.plugins` gets the same classes, for one release."""
    expected = {
        "GA4MetricExporter": ga4.LenientGA4MetricExporter,
        "GA4SpanExporter": ga4.LenientGA4SpanExporter,
        "SegmentMetricExporter": segment.LenientSegmentMetricExporter,
        "SegmentSpanExporter": segment.LenientSegmentSpanExporter,
    }

    assert expected == {name: getattr(plugins, name) for name in plugins.__all__}


@pytest.mark.parametrize("package", [ga4, segment])
def test_every_public_name_can_be_imported(package: object) -> None:
    """What ``__all__`` promises is there, and what is not there is an AttributeError."""
    assert all(hasattr(package, name) for name in package.__all__)  # type: ignore[attr-defined]
    assert not hasattr(package, "nonsense")


def test_listing_the_variables_loads_nothing_heavy() -> None:
    """opentelemetry-instrument lists variables at every start: that costs no import of the SDK or of requests."""
    code = """
import sys
from importlib.metadata import entry_points

group = [p for p in entry_points(group="opentelemetry_environment_variables") if p.name in ("ga4", "segment")]
print(sum(name.startswith("OTEL_EXPORTER_") for point in group for name in dir(point.load())))
print(*[name for name in ("opentelemetry.sdk", "requests", "urllib3") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"{len(GA4) + len(SEGMENT)}\n\n" == ended.stdout
