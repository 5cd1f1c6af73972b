"""Pages without a view: asking for the token, saying that something is wrong."""

from __future__ import annotations

from .frame import begin, end
from .markup import Markup, join, tag
from .view import View


def sign_in_page(view: View, next_page: str, *, wrong: bool) -> Markup:
    """Return the page that asks for the token. next_page: where to go with it."""
    form = tag(
        "form",
        tag("label", "Token", for_="token"),
        tag(
            "input", type="password", id="token", name="token", required=True, autocomplete="current-password",
            autofocus=True, aria_describedby="wrong" if wrong else None, aria_invalid="true" if wrong else None,
        ),
        tag("input", type="hidden", name="next", value=next_page),
        tag("button", "Look", class_="button main", type="submit"),
        method="post",
        action="/sign-in",
    )  # fmt: skip
    content = tag(
        "section",
        tag("h1", "otel-usage"),
        tag("p", "These pages need a token of those who look. It is not one that programs send with.", class_="muted"),
        tag("p", "That is none of its tokens.", class_="wrong", id="wrong", role="alert") if wrong else None,
        form,
        class_="panel narrow",
    )
    return join(begin(view, "Sign in", bare=True), content, end(bare=True))


def message_page(view: View, title: str, text: str) -> Markup:
    """Return a page that says what is wrong, and leads back."""
    content = tag(
        "section",
        tag("h1", title),
        tag("p", text, class_="muted"),
        tag("p", tag("a", "To the overview", href="/")),
        class_="panel narrow",
    )
    return join(begin(view, title, bare=True), content, end(bare=True))
