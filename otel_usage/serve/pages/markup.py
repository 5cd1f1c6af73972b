"""Markup that can't be broken into: every text is escaped, and an address leads to these pages alone.

>>> tag("td", "<script>", title='a"b')
'<td title="a&#34;b">&lt;script&gt;</td>'
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

VOID = {"br", "col", "hr", "input", "link", "meta"}
ADDRESSES = {"action", "href", "src"}
# Where else a link may lead: to nobody. What these pages show they serve themselves.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})


class Markup(str):
    """Text that is markup already, made by `tag` and `join` alone."""

    __slots__ = ()


Content = Union[str, int, None, Iterable["Content"]]  # noqa: UP007  a name that is not yet there


def escape(text: object) -> Markup:
    """Return *text* as markup that shows it, in an element or in an attribute's quotes."""
    return text if isinstance(text, Markup) else Markup(str(text).translate(_ESCAPES))


def join(*contents: Content) -> Markup:
    """Return *contents* one after the other: texts escaped, None left out, lists in turn."""
    parts: list[str] = []
    for content in contents:
        if isinstance(content, (str, int, float)):
            parts.append(escape(content))
        elif content is not None:
            parts.append(join(*content))
    return Markup("".join(parts))


def tag(name: str, /, *contents: Content, **attributes: object) -> Markup:
    """Return an element. ``class_`` is class, ``aria_label`` is aria-label; None and False leave an attribute out.

    Raises ValueError for an address that is not one of these pages: it must begin with one slash, "?" or "#".
    """
    text = f"<{name}"
    for key, setting in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if setting is None or setting is False:
            continue
        if key in ADDRESSES and not _is_own(str(setting)):
            raise ValueError(f"{key} {setting!r} leads away from these pages")
        text += f" {key}" if setting is True else f' {key}="{escape(setting)}"'
    if name in VOID:
        return Markup(text + ">")
    return Markup(f"{text}>{join(*contents)}</{name}>")


def _is_own(address: str) -> bool:
    """True for a path, a query or a fragment. Browsers take "//host" and "/\\host" for another host."""
    return address[:1] in ("?", "#") or (address[:1] == "/" and address[1:2] not in ("/", "\\"))
