"""Servers of the pages, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_usage.serve.questions.sample_year import SCHEMA

from .serving import serving, year

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).parents[3] / "build" / "front-end" / "node_modules" / "axe-core" / "axe.min.js"
NOTES = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


def find_browser() -> str:
    """Return the path of a browser that Playwright can drive; skip the test, or fail where one is required."""
    wish = os.environ.get("OTEL_USAGE_BROWSER", "")
    path = wish if wish not in ("", "required") else next(filter(None, map(shutil.which, BROWSERS)), "")
    reason = "no browser: apt-get install chromium, or name one in OTEL_USAGE_BROWSER; then make test-pages"
    if not path:
        pytest.fail(reason) if wish == "required" else pytest.skip(reason)
    return str(path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that reaches no host but this one.

    While it is driven an event loop counts as running in this thread, where no test of another module could run one.
    """
    path = find_browser()
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make install")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """A function that opens an address in a context of its own; after the test no page may have broken a rule of ours.

    It notes which hosts were asked, what a policy forbade, and what scripts complained of.
    """
    contexts: list[Any] = []
    faults: list[str] = []
    pages: list[Any] = []

    def open_(address: str, **options: Any) -> Any:
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(NOTES)
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(f"{address}: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"{address}: a dialog"), dialog.dismiss()))
        origin = "/".join(address.split("/")[:3])
        page.on("request", lambda request: None if request.url.startswith(origin) else faults.append(request.url))
        page.goto(address)
        return page

    yield open_
    for page in pages:
        if options_have_scripts(page):
            faults += page.evaluate("window.violations || []")
    for context in contexts:
        context.close()
    assert [] == faults


def options_have_scripts(page: Any) -> bool:
    """True if scripts run in *page*."""
    return bool(page.evaluate("document.documentElement.classList.contains('scripted')"))


@pytest.fixture(scope="session")
def digest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a third of a generated year, and a second program."""
    events = [*year("digest", 60, 120), *year("todo", 6, 30)]
    with serving(tmp_path_factory.mktemp("digest"), events, schemas={"digest": SCHEMA}) as (address, _):
        yield address
