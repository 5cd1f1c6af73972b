"""A relay for any number of installations: each has one session at GA4, and is identified once at Segment."""

from __future__ import annotations

import os
from collections import Counter, defaultdict

import pytest

from tests.collector.harness import metrics, post, resource, traces
from tests.server.serving import Process
from tests.server.vendors import Vendors

INSTALLATIONS = 1_200  # the relay of 0.1 remembered 1,000
ROUNDS = 2
PER_REQUEST = 100


def installation(n: int) -> str:
    """Return the id of an installation."""
    return f"4f8b12f2-92a8-4d67-8a8a-{n:012x}"


@pytest.mark.parametrize(
    "names",
    [
        ["segment"],
        pytest.param(
            ["ga4", "segment"],  # GA4 takes a request for each installation
            marks=pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="OTEL_USAGE_SLOW is not set"),
        ),
    ],
)
def test_more_installations_than_ever_were_remembered(names: list[str]) -> None:
    """Each runs again after all the others have run; its runs are of one session, and its traits are sent once."""
    with Vendors() as vendors:
        vendors.keep = True
        with Process(names, **vendors.environ()) as process:
            for turn in range(ROUNDS):
                for first in range(0, INSTALLATIONS, PER_REQUEST):
                    request = traces([])
                    for n in range(first, first + PER_REQUEST):
                        request.MergeFrom(traces([turn * INSTALLATIONS + n], installation=installation(n)))
                    assert 200 == post(process.port, "/v1/traces", request.SerializeToString())[0]
        sessions: dict[str, set[str]] = defaultdict(set)
        identified: Counter[str] = Counter()
        for vendor, body in vendors.bodies:
            if vendor == "ga4":
                sessions[body["client_id"]] |= {str(event["params"]["session_id"]) for event in body["events"]}
            else:
                identified.update(one["anonymousId"] for one in body["batch"] if one["type"] == "identify")

    if "ga4" in names:
        assert (INSTALLATIONS, INSTALLATIONS * ROUNDS) == (len(sessions), vendors.ga4.total())
        assert {1} == {len(numbers) for numbers in sessions.values()}
    assert (INSTALLATIONS, {1}) == (len(identified), set(identified.values()))


def test_counts_and_runs_are_of_one_session() -> None:
    """What the exporters of the two signals learn of an installation, both know."""
    with Vendors() as vendors:
        vendors.keep = True
        with Process(["ga4", "segment"], **vendors.environ()) as process:
            run = traces([1], installation=installation(1), began_ns=None)
            count = metrics(5, of=resource(installation(1)))
            for path, body in (("traces", run), ("metrics", count)):
                assert 200 == post(process.port, f"/v1/{path}", body.SerializeToString())[0]
        events = [event for vendor, body in vendors.bodies if vendor == "ga4" for event in body["events"]]
        kinds = [one["type"] for vendor, body in vendors.bodies if vendor == "segment" for one in body["batch"]]

    assert 2 == len(events)
    assert 1 == len({event["params"]["session_id"] for event in events})
    assert Counter(identify=1, track=2) == Counter(kinds)
