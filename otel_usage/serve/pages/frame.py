"""The frame of every page: navigation, filters, theme."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, quote

from ..questions import AUDIENCES, QUESTIONS
from ..questions.declared import PREFIX
from .asset_files import asset
from .markup import Markup, escape, join, tag
from .view import PERIODS, THEMES, View
from .wording import AUDIENCE_NAMES, write_day

SCRIPTS = ("echarts.js", "pages.js")


def begin(view: View, title: str, *, bare: bool = False, live: bool = False) -> Markup:
    """Return a page up to its content. bare: without navigation. live: with the script of the live page."""
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{title} · otel-usage"),
        tag("link", rel="icon", href=_address("icon.svg"), type="image/svg+xml"),
        tag("link", rel="stylesheet", href=_address("pages.css")),
        [
            tag("script", src=_address(name), defer=True)
            for name in (*SCRIPTS, *(("live.js",) if live else ()))
            if asset(name)
        ],
    )
    theme = f' data-theme="{escape(view.theme)}"' if view.theme != "auto" else ""
    start = f'<!doctype html><html lang="en"{theme}><head>{head}</head><body>'
    if bare:
        return Markup(f'{start}<main id="content">')
    return Markup(
        f"{start}{tag('a', 'Skip to content', class_='skip', href='#content')}{_top(view)}"
        f'<div class="frame">{_side(view)}<main id="content" tabindex="-1">{_ribbon(view)}'
    )


def end(*, bare: bool = False) -> Markup:
    """Return what follows the content."""
    return Markup("</main></body></html>" if bare else "</main></div></body></html>")


def heading(title: str, text: str = "") -> Markup:
    """Return the page's own heading."""
    return tag("div", tag("h1", title), tag("p", text) if text else None, class_="head")


def _address(name: str) -> str:
    file = asset(name)
    return file.address if file else "/"


def _ribbon(view: View) -> Markup:
    return tag("p", view.notice, class_="ribbon", role="note") if view.notice else join()


def _brand() -> Markup:
    return tag(
        "a", tag("img", src=_address("icon.svg"), alt="", width=26, height=26), "otel-usage", class_="brand", href="/"
    )


def _side(view: View) -> Markup:
    return tag(
        "header", _brand(), _menu(view, "Pages"), tag("div", _theme(view), _leave(view), class_="foot"), class_="side"
    )


def _top(view: View) -> Markup:
    """Return the navigation of narrow screens."""
    menu = tag("div", _menu(view, "Pages, narrow"), _theme(view), _leave(view))
    return tag("header", _brand(), tag("details", tag("summary", "Menu"), menu), class_="top")


def _menu(view: View, label: str) -> Markup:
    here = [("/", "Overview"), ("/live", "Live"), ("/app", "This program")]
    asked = [(f"/questions/{question.id}", short_title(question.id)) for question in QUESTIONS.values()]
    declared = [(f"/questions/{PREFIX}{quote(name)}", name) for name in view.schema]
    events = [tag("h2", "What it declares"), _list(view, declared)] if declared else []
    questions = tag("h2", "Questions"), _list(view, asked)
    return tag("nav", _list(view, here), questions, events, class_="menu", aria_label=label)


def _list(view: View, rows: list[tuple[str, str]]) -> Markup:
    links = [
        tag("li", tag("a", text, href=view.link(path), aria_current="page" if path == view.path else None))
        for path, text in rows
    ]
    return tag("ul", links)


def short_title(id_: str) -> str:
    """Return a question's name in the navigation."""
    return id_.replace("_", " ").replace("-", " ").capitalize()


def _theme(view: View) -> Markup:
    buttons = [
        tag("button", text, name="theme", value=theme, type="submit", aria_pressed=str(theme == view.theme).lower())
        for theme, text in THEMES.items()
    ]
    back = tag("input", type="hidden", name="next", value=view.link())
    return tag("form", back, buttons, class_="theme", method="post", action="/theme", aria_label="Theme")


def _leave(view: View) -> Markup | None:
    if not view.locked:
        return None
    return tag("form", tag("button", "Sign out", class_="quiet", type="submit"), method="post", action="/sign-out")


def filter_bar(view: View) -> Markup:
    """Return the filters, which every link of the page has too."""
    return tag("div", *_filters(view), class_="filters", role="group", aria_label="Filters")


def _filters(view: View) -> Iterator[Markup]:
    if len(view.apps) > 1:
        yield _choice(view, "app", "Program", [(app, app) for app in view.apps], view.filters.app)
    yield tag(
        "nav",
        [_segment(text, view.link(days=days), view.days == days) for days, text in PERIODS.items()],
        class_="segments",
        aria_label="Period",
    )
    yield tag(
        "nav",
        [
            _segment(
                AUDIENCE_NAMES.get(name, name), view.link(audience=name), view.filters.audience == name, title=text
            )
            for name, text in AUDIENCES.items()
        ],
        class_="segments",
        aria_label="Whose runs",
    )
    yield _range(view)
    versions = [(release.version, release.version) for release in view.releases]
    if view.filters.version and view.filters.version not in dict(versions):
        versions.append((view.filters.version, view.filters.version))
    if versions:
        yield _choice(view, "version", "Version", [("", "All versions"), *versions], view.filters.version)
    yield tag(
        "nav",
        _segment("✓ Compare" if view.compares else "Compare", view.link(compares=not view.compares), view.compares),
        class_="segments",
        aria_label="Comparison with the period before",
    )
    if view.filters.version:
        yield tag(
            "a",
            f"Version {view.filters.version}",
            tag("span", "×", aria_hidden="true"),
            tag("span", "(remove this filter)", class_="visually-hidden"),
            class_="chip",
            href=view.link(version=""),
        )


def _segment(text: str, href: str, chosen: bool, title: str = "") -> Markup:
    return tag("a", text, href=href, aria_current="true" if chosen else None, title=title or None)


def _choice(view: View, name: str, label: str, rows: list[tuple[str, str]], chosen: str) -> Markup:
    """Return a list to choose from. It keeps the other filters, as fields that nobody sees."""
    id_ = f"filter-{name}"
    choices = [tag("option", text, value=key, selected=key == chosen) for key, text in rows]
    return tag(
        "form",
        _hidden(view, name, *(("version",) if name == "app" else ())),
        tag("label", label, for_=id_, class_="visually-hidden"),
        tag("select", choices, id=id_, name=name),
        tag("button", "Apply", class_="button unscripted", type="submit"),
        action=view.path,
        data_at_once=True,
    )


def _range(view: View) -> Markup:
    """Return the period of dates."""
    first, last = view.filters.start.isoformat(), view.filters.end.isoformat()
    text = "Dates" if view.days else f"{write_day(first)} – {write_day(last)}"
    form = tag(
        "form",
        _hidden(view, "start", "end", "days"),
        tag("label", "From", tag("input", type="date", name="start", value=first, required=True)),
        tag("label", "To", tag("input", type="date", name="end", value=last, required=True)),
        tag("button", "Show", class_="button main", type="submit"),
        action=view.path,
    )
    return tag("details", tag("summary", text, class_="button"), form, class_="range")


def _hidden(view: View, *without: str) -> list[Markup]:
    _, _, query = view.link().partition("?")
    fields = [(key, setting) for key, setting in parse_qsl(query) if key not in without]
    return [tag("input", type="hidden", name=key, value=setting) for key, setting in fields]
