"""Errors that happen before ``init`` could be called, as while a configuration is read."""

from __future__ import annotations

import pytest

from ..hosts import Host

SOURCE = """
import otel_usage
for n in range({n}):
    otel_usage.error({call})
usage = otel_usage.init("prog", version="1", consent="opt-in", service={service}, schema={{
    "config.invalid": {{"kind": "error", "why": "x", "fields": {{"where": ["file", "environment"]}}}}}})
otel_usage.error("config.invalid", where="environment")
"""


@pytest.mark.parametrize("service", [True, False])
def test_they_wait_for_init(host: Host, service: bool) -> None:
    """They are recorded before what comes later, in a service as in a run; what is not declared is counted."""
    host.run(SOURCE.format(n=2, call="'config.invalid', where='file'", service=service), start_new_session=True)
    host.run(SOURCE.format(n=1, call="'config.broken', 's3cret'", service=service), start_new_session=True)
    host.adopt()

    where = [span.attributes["usage.field.where"] for span in host.spans if span.name == "config.invalid"]
    assert ["file", "file", "environment", "environment"] == where
    assert 2 == sum(n for (name, _), n in host.counts.items() if name == "usage.dropped")


def test_sixteen_are_kept(host: Host) -> None:
    """A program that tries again and again, and never comes to `init`, keeps no more of them."""
    host.run(SOURCE.format(n=100, call="'config.invalid'", service=False))

    assert 17 == sum(span.name == "config.invalid" for span in host.spans)


def test_off_is_off(host: Host) -> None:
    """Where nothing is recorded, nothing of them is."""
    ended = host.run(SOURCE.format(n=1, call="'config.invalid'", service=True), env={"PROG_TELEMETRY": "off"})

    assert (0, b"") == (ended.status, ended.err)
    assert not host.spool.exists()
