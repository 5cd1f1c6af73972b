"""``otel-usage relay`` to every vendor besides GA4 and Segment at once: one address for all, one for each, and one that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.collector.harness import metrics, post, traces
from tests.exporters.named_vendors import NAMED, OTHERS, VISITS
from tests.exporters.servers import Receiver
from tests.server.serving import Process

Servers = dict[str, Receiver]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """One server for each vendor."""
    all_of_them = {name: Receiver((200, {}, b"{}")) for name in OTHERS}
    yield all_of_them
    for server in all_of_them.values():
        server.close()


def environ(servers: Servers) -> dict[str, str]:
    return {
        f"OTEL_EXPORTER_{name.upper()}_{key.upper()}": str(value)
        for name, of in OTHERS.items()
        for key, value in {**of.settings, "endpoint": servers[name].url}.items()
    }


def names(servers: Servers) -> dict[str, list[str]]:
    return {name: [OTHERS[name].name(each) for each in OTHERS[name].received(servers[name])] for name in OTHERS}


def test_one_address_for_all_and_one_for_each(servers: Servers) -> None:
    """``/v1/traces`` reaches every vendor, ``/VENDOR/v1/metrics`` the one, under the installation's id."""
    with Process(list(OTHERS), **environ(servers)) as relay:
        answers = [post(relay.port, "/v1/traces", traces([1]).SerializeToString())[0]]
        for name in OTHERS:
            answers.append(post(relay.port, f"/{name}/v1/metrics", metrics(3).SerializeToString())[0])
        assert 0 == relay.end()

    assert [200] * (1 + len(OTHERS)) == answers
    assert {name: ["Command Run", "Events Handled"] for name in OTHERS} == names(servers)


def test_one_that_fails_is_sent_again_and_the_others_know_the_repetition(servers: Servers) -> None:
    """503 while one vendor is down; once it is back, it has everything once, and nobody has another id for anything."""
    *_, failing = NAMED
    body = traces([1]).SerializeToString()
    servers[failing].answers = [(503, {}, b""), (200, {}, b"{}")]
    with Process(list(OTHERS), **environ(servers)) as relay:
        first, second = (post(relay.port, "/v1/traces", body)[0] for _ in range(2))

    ids = {name: {NAMED[name].id(each) for each in NAMED[name].received(servers[name])} for name in NAMED}
    assert (503, 200) == (first, second)
    assert 1 == len(set.union(*ids.values()))
    assert 2 == len(servers[failing].requests)
    assert {1} == {len(servers[name].requests) for name in VISITS}, "who does not know a repetition is not sent one"
