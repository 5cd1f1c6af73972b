"""The pages in a real browser: live events, filters, theme, keyboard, phones, no other host, no broken policy."""

from __future__ import annotations

from typing import Any

import pytest

from otel_usage.serve.pages.live import LOOK_S

from .serving import run_now, serving
from .test_page_contents import HOSTILE

DEADLINE_MS = 20_000


def wait_for_charts(page: Any) -> None:
    """Return when every chart of *page* is drawn."""
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg path'))",
        timeout=DEADLINE_MS,
    )


def test_the_first_event_appears_by_itself(open_page: Any, tmp_path) -> None:
    """Who looks at an empty store sees the first event as soon as it is committed, without touching anything."""
    with serving(tmp_path) as (address, store):
        page = open_page(address)
        page.wait_for_selector(".pulse[data-state=open]", timeout=DEADLINE_MS)
        store.write([run_now(app="hello", name="greet")])
        page.wait_for_selector(".pulse[data-state=arrived]", timeout=DEADLINE_MS)
        assert ": hello greet, run, success, 1.0 s" in page.inner_text(".pulse")
        page.get_by_role("link", name="Look at it").click()
        assert "hello greet" == page.inner_text("tbody th")

    assert LOOK_S < 0.5, "the stream looks more than twice a second: the promise is one second"


def test_events_appear_on_the_live_page_as_text(open_page: Any, tmp_path) -> None:
    """Each event is a row, the newest on top; what its texts hold stays text. The stream ends when the server does."""
    with serving(tmp_path, [run_now(name="old")]) as (address, store):
        page = open_page(f"{address}/live")
        page.wait_for_selector(".pulse[data-state=open]", timeout=DEADLINE_MS)
        store.write([run_now(name="first", outcome="failure")])
        store.write([run_now(name=HOSTILE)])
        page.wait_for_selector("tr.new >> nth=1", timeout=DEADLINE_MS)

        names = page.locator("tbody th").all_inner_texts()
        assert ["mycli " + HOSTILE, "mycli first", "mycli old"] == names
        assert "failure" == page.locator("tr.new .outcome").nth(1).inner_text()
        assert 0 == page.locator("tbody img").count()


def test_filters_are_links_and_stay_in_the_address(open_page: Any, digest: str) -> None:
    """A click on a period, an audience, a version or a day filters by it; the list of programs applies when chosen."""
    page = open_page(f"{digest}/?app=digest")
    page.get_by_role("link", name="90 days").click()
    page.get_by_role("link", name="CI", exact=True).click()
    assert "app=digest&days=90&audience=ci" == page.url.partition("?")[2]
    assert "Counted: continuous integration." in page.inner_text(".audience")

    page.goto(f"{digest}/app?app=digest")
    page.locator("tbody th a").first.click()
    assert "version=" in page.url
    page.get_by_role("link", name="(remove this filter)").click()
    assert "version=" not in page.url

    page.wait_for_load_state()
    with page.expect_navigation():
        page.get_by_label("Program").select_option("todo")
    assert "todo" == page.inner_text("h1")

    page.locator("details.behind summary").first.click()
    page.locator("details.behind tbody th a").first.click()
    assert "start=" in page.url


def test_dates_are_chosen_in_a_form(open_page: Any, digest: str) -> None:
    """The form of dates keeps the other filters, and Escape closes it."""
    page = open_page(f"{digest}/?app=digest&audience=all")
    summary = page.locator("details.range summary")
    summary.click()
    page.keyboard.press("Escape")
    assert not page.locator("details.range[open]").count()

    summary.click()
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-31")
    page.get_by_role("button", name="Show").click()
    assert "app=digest&audience=all&start=2026-01-01&end=2026-01-31" == page.url.partition("?")[2]
    assert "1 Jan 2026 – 31 Jan 2026" == summary.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(open_page: Any, digest: str, scheme: str) -> None:
    """Light or dark as the system says; the choice beats it, is redrawn at once, and lasts over pages."""
    other = {"light": "dark", "dark": "light"}[scheme]
    colour = "body => getComputedStyle(body).backgroundColor"
    page = open_page(f"{digest}/?app=digest", color_scheme=scheme)
    wait_for_charts(page)
    before = page.locator("body").evaluate(colour)
    line = page.locator(".chart svg path[stroke]").first.evaluate("path => path.closest('svg').innerHTML")

    with page.expect_response("**/theme"):
        page.locator(".side").get_by_role("button", name=other.capitalize()).click()
    after = page.locator("body").evaluate(colour)
    page.get_by_role("link", name="Live").first.click()
    page.wait_for_url("**/live*")

    assert before != after
    assert after == page.locator("body").evaluate(colour)
    assert other == page.locator("html").get_attribute("data-theme")
    page.goto(f"{digest}/?app=digest")
    wait_for_charts(page)
    assert line != page.locator(".chart svg path[stroke]").first.evaluate("path => path.closest('svg').innerHTML")


def test_everything_is_reached_by_the_keyboard(open_page: Any, digest: str) -> None:
    """Tab goes to the content first, then through navigation and filters, each with a ring; Enter opens a chart's table."""
    page = open_page(f"{digest}/?app=digest")
    wait_for_charts(page)
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            "[document.activeElement.textContent.trim(), getComputedStyle(document.activeElement).outlineStyle]"
        )
        stops.append(stop)
        if stop[0] == "Table of this chart":
            break
    texts = [text for text, _ in stops]

    assert "Skip to content" == texts[0]
    for text in ("Overview", "Live", "Dark", "12 months", "Agents", "JSON", "Table of this chart"):
        assert text in texts
    assert {"solid"} == {ring for text, ring in stops if text}
    page.keyboard.press("Enter")
    assert page.locator("details.behind[open] table").count()


def test_charts_are_their_tables(open_page: Any, digest: str) -> None:
    """Each chart is named for those who don't see it, and has a table of every number in it."""
    page = open_page(f"{digest}/?app=digest&days=90")
    wait_for_charts(page)

    figures = page.locator("figure")
    assert 3 == figures.count()
    for place in range(figures.count()):
        figure = figures.nth(place)
        assert "img" == figure.locator(".chart").get_attribute("role")
        assert len(figure.locator(".chart").get_attribute("aria-label")) > 40
        assert figure.locator("details.behind tbody tr").count() >= 10
    assert "Runs, period before" in figures.first.locator("thead").text_content()


def test_what_a_policy_forbids_does_not_run(open_page: Any, digest: str) -> None:
    """Had markup found a way in, its script would not run: the browser says so, and what `open_page` notes is alive."""
    page = open_page(f"{digest}/questions/commands")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )

    assert page.evaluate("window.ran") is None
    assert 1 == len(page.evaluate("window.violations"))
    page.evaluate("window.violations = []")


def test_without_scripts_everything_is_read_and_filtered(open_page: Any, digest: str) -> None:
    """Numbers, tables and filters need no script; a choice is applied by a button, the theme too."""
    page = open_page(f"{digest}/?app=digest", java_script_enabled=False)

    assert 5 == page.locator(".card .value").count()
    assert not page.locator(".chart").first.is_visible()
    page.locator("details.behind summary").first.click()
    assert page.locator("details.behind tbody tr").first.is_visible()
    page.get_by_label("Program").select_option("todo")
    page.get_by_role("button", name="Apply").first.click()
    assert "todo" == page.inner_text("h1")
    page.locator(".side").get_by_role("button", name="Dark").click()
    assert "dark" == page.locator("html").get_attribute("data-theme")


def test_signing_in_and_out(open_page: Any, tmp_path) -> None:
    """A person types the token once, lands where they wanted to go, and leaves by a button."""
    with serving(tmp_path, [run_now()], viewers=("0123456789-token",)) as (address, _):
        page = open_page(f"{address}/questions/commands?days=7")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        assert "That is none of its tokens." == page.inner_text("[role=alert]")
        page.keyboard.type("0123456789-token")
        page.keyboard.press("Enter")
        page.wait_for_selector("table", timeout=DEADLINE_MS)
        assert f"{address}/questions/commands?days=7" == page.url
        page.locator(".side").get_by_role("button", name="Sign out").click()
        assert page.get_by_label("Token").is_visible()
