"""How many wrong tokens are answered one by one, told by a clock of our own."""

from __future__ import annotations

from otel_usage.serve.guesses import BACK_S, EACH, MAX_ADDRESSES, TOGETHER, Guesses


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_has_its_own_bound_and_gets_times_back() -> None:
    """Ten at once, then one every six seconds; another address is not concerned."""
    clock = Clock()
    guesses = Guesses(clock)

    assert [False] * EACH + [True] * 3 == [guesses.add("192.0.2.1") for _ in range(EACH + 3)]
    assert not guesses.add("192.0.2.2")
    clock.now_s += BACK_S
    assert [False, True] == [guesses.add("192.0.2.1") for _ in range(2)]
    clock.now_s += BACK_S * 1_000
    assert [False] * EACH + [True] == [guesses.add("192.0.2.1") for _ in range(EACH + 1)]


def test_a_customer_of_ipv6_is_one_address() -> None:
    """Of IPv6 everybody has as many addresses as he likes, all with the same first half."""
    guesses = Guesses(Clock())

    assert [False] * EACH + [True] == [guesses.add(f"2001:db8::{n:x}") for n in range(EACH + 1)]
    assert not guesses.add("2001:db8:0:1::1")
    assert [False] * EACH + [True] == [guesses.add(host) for host in ["", "testclient"] * EACH][: EACH + 1]


def test_all_together_are_bounded_and_so_is_memory() -> None:
    """From ever new addresses there are a hundred at once; and no more addresses are remembered than there is room for."""
    clock = Clock()
    guesses = Guesses(clock)

    many = [guesses.add(f"198.51.{n // 256}.{n % 256}") for n in range(MAX_ADDRESSES * 2)]

    assert [False] * EACH * TOGETHER == many[: EACH * TOGETHER]
    assert {True} == set(many[EACH * TOGETHER :])
    assert len(guesses._settled_s) <= MAX_ADDRESSES + 1
    clock.now_s += BACK_S * EACH * TOGETHER
    assert not guesses.add("203.0.113.1")
