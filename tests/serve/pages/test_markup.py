"""Markup: no text breaks out of it, and no address leads away."""

from __future__ import annotations

import pytest

from otel_usage.serve.pages.markup import Markup, join, tag
from otel_usage.serve.pages.session import own_path

HOSTILE = "\"'><script>alert(1)</script>&amp;\0"


def test_texts_are_escaped_wherever_they_stand() -> None:
    """In an element, in a list, and in an attribute, a text is shown as it is, and markup stays markup."""
    element = tag("p", HOSTILE, [HOSTILE], tag("b", "x"), title=HOSTILE)

    assert element.count("<script") == 0
    assert element.count("<") == 4
    assert element.count('"') == 2
    assert "&amp;amp;" in element
    assert "\0" not in element


def test_none_and_false_leave_things_out() -> None:
    """A content that is None and an attribute that is None or False are not written; True is an attribute alone."""
    assert "<input hidden>" == tag("input", hidden=True, checked=False, value=None)
    assert "" == join(None, [None])
    assert isinstance(join("a"), Markup)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "https://elsewhere.example",
        "data:text/html,x",
        "",
    ],
)
def test_an_address_of_another_host_is_refused(address: str) -> None:
    """A link, a form or a picture that leads away from the pages can't be written; and nobody is sent there after signing in."""
    for name in ("href", "src", "action"):
        with pytest.raises(ValueError, match="leads away"):
            tag("a", "x", **{name: address})
    assert "/" == own_path(address)


@pytest.mark.parametrize("address", ["/\t/elsewhere.example", "/\r\nlocation: x", "x", "/a\\b"])
def test_after_signing_in_nobody_is_sent_away(address: str) -> None:
    """What browsers take for another host's address, once they have taken white space out, is not followed either."""
    assert "/" == own_path(address)
