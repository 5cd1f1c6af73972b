"""What axe-core has to say of every kind of page, in both themes: contrast, names, roles, landmarks, order."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import AXE
from .serving import run_now, serving
from .test_browser_pages import wait_for_charts

# Few rows: axe-core looks at every cell.
PAGES = (
    "/?app=digest&days=14", "/?app=todo&days=7&compare=no&version=1.0.0", "/questions/commands?days=7",
    "/questions/cohorts?days=7", "/questions/event.report.upload?app=digest", "/app?app=digest", "/live", "/questions/nothing",
)  # fmt: skip


def find_violations(page: Any) -> list[str]:
    """Return what axe-core finds, of all its rules, best practices too."""
    if not AXE.exists():
        pytest.skip(
            f"no axe-core: rm otel_usage/serve/pages/assets/echarts.js && make front-end, which brings {AXE.name}"
        )
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found_rules = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    return [
        f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:160]} ({len(rule['nodes'])})" for rule in found_rules
    ]


@pytest.mark.parametrize("path", PAGES)
def test_axe_has_nothing_to_say_and_a_phone_is_wide_enough(open_page: Any, digest: str, path: str) -> None:
    """No page breaks a rule, with everything that can be opened open, in either theme; no other host was asked, and no
    policy broken (see `open_page`). At 360 pixels nothing is wider than the page: tables scroll in their own boxes.
    """
    page = open_page(digest + path)
    wait_for_charts(page)
    page.evaluate("document.querySelectorAll('main details').forEach((details) => { details.open = true; })")
    light = find_violations(page)
    page.emulate_media(color_scheme="dark")
    dark = find_violations(page)
    page.evaluate("document.querySelectorAll('main details.range').forEach((details) => { details.open = false; })")
    page.set_viewport_size({"width": 360, "height": 740})

    assert ([], []) == (light, dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_nor_on_a_phone(open_page: Any, digest: str) -> None:
    """The menu of narrow screens opens, leads everywhere, and breaks no rule."""
    page = open_page(f"{digest}/?app=digest&days=7", viewport={"width": 390, "height": 740}, has_touch=True)
    wait_for_charts(page)
    page.get_by_text("Menu").click()

    assert page.get_by_role("link", name="Durations", exact=True).is_visible()
    assert [] == find_violations(page)


def test_nor_while_there_is_nothing(open_page: Any, tmp_path) -> None:
    """An empty store, signing in, and one event."""
    with serving(tmp_path, viewers=("a-token-of-viewers",)) as (address, store):
        page = open_page(address)
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert [] == find_violations(page)
        page.keyboard.type("a-token-of-viewers")
        page.keyboard.press("Enter")
        page.wait_for_selector(".pulse[data-state=open]")
        assert [] == find_violations(page)
        store.write([run_now()])
        page.wait_for_selector(".pulse[data-state=arrived]")
        assert [] == find_violations(page)
        page.goto(address)
        assert [] == find_violations(page)


@pytest.mark.parametrize("scripts", [True, False])
def test_nor_where_erasing_is_asked_once_more(open_page: Any, tmp_path, scripts: bool) -> None:
    """The form leads to a page that asks, with a way back; with scripts and without."""
    one = "00000000-0000-4000-a000-000000000001"
    with serving(tmp_path, [run_now(installation=one)]) as (address, store):
        page = open_page(f"{address}/app?app=mycli", java_script_enabled=scripts)
        page.get_by_label("Id of the installation").fill(one)
        page.get_by_role("button", name="Erase…").click()
        assert "Erase this installation?" == page.inner_text("h1")
        if scripts:
            assert [] == find_violations(page)
        page.get_by_role("link", name="Keep them").click()
        assert "/app?app=mycli" == page.url.removeprefix(address)
        page.get_by_label("Id of the installation").fill(one)
        page.get_by_role("button", name="Erase…").click()
        assert 2 == sum(store.count_rows("mycli", one).values())
        page.get_by_role("button", name="Erase 2 rows").click()
        assert "was erased" in page.inner_text("[role=status]")
        assert {} == store.count_rows("mycli", one)
        if scripts:
            assert [] == find_violations(page)
