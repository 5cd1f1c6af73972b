"""Little that stands for much: neither time nor memory of the relay is had for a few bytes, with a token or without."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable

import pytest

from tests.collector.harness import memory_mib, post, traces
from tests.server.clients import Healthy
from tests.server.test_relay_refusals import field
from tests.server.test_strangers import TOKEN, poster, relay

MIB = 1 << 20
EMPTY_SPANS = field(1, field(2, b"\x12\0" * (2 * MIB - 20)))
EMPTY_ATTRIBUTES = field(1, field(2, field(2, b"\x4a\0" * 32_000) * 64))
GZIP = {"content-encoding": "gzip"}

BOMBS: dict[str, tuple[Callable[[], bytes], dict[str, str]]] = {
    "200,000 gzip members": (lambda: gzip.compress(b"") * 200_000, GZIP),
    "a ratio of 1,000": (lambda: gzip.compress(bytes(4 * MIB - 100)), GZIP),
    "two million spans in gzip": (lambda: gzip.compress(EMPTY_SPANS), GZIP),
    "two million spans": (lambda: EMPTY_SPANS, {}),
    "two million attributes": (lambda: EMPTY_ATTRIBUTES, {}),
    "a million lists": (
        lambda: b'{"resourceSpans":[' + b"[]," * 1_300_000 + b"[]]}",
        {"content-type": "application/json"},
    ),
    "half a million objects": (
        lambda: b'{"resourceSpans":[' + b"{     }," * 500_000 + b"{}]}",
        {"content-type": "application/json"},
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_holds_nobody_up(kind: str) -> None:
    """Eight clients that have a token post it over and over; others are answered meanwhile, in bounded memory."""
    make, headers = BOMBS[kind]
    bomb = make()
    answers: set[int] = set()
    with relay() as process:
        post(process.port, "/segment/v1/traces", traces([0]).SerializeToString(), TOKEN)
        before = memory_mib(process.pid)

        def attack() -> None:
            for _ in range(4):
                answers.add(post(process.port, "/segment/v1/traces", bomb, {**TOKEN, **headers})[0])

        with Healthy(poster(process)) as healthy:
            threads = [threading.Thread(target=attack) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        grown = memory_mib(process.pid, peak=True) - before

    assert answers <= {400, 413, 429, 503} | ({200} if "attributes" in kind else set())
    assert {200} == set(healthy.answers)
    assert healthy.longest_s < 10  # a third of what a request may take
    assert grown < 256, f"{grown:.0f} MiB"  # --held-mib is 64, and one body of 4 MiB at a time is taken apart
