"""How long the overview takes in a browser, by the page's own clock, and how that grows with the events that are stored.

    .venv/bin/python -m tests.bench.pages [EVENTS …]

For each size it fills a store as tests/bench/questions.py does, starts `otel-usage serve` on it with two threads, and opens the
overview in Chromium, of 28 days and of a year: in the first row of each the server has answered nothing yet, in the second it
still remembers what it was asked a moment ago. The times are milliseconds from the moment of navigation: until something is painted,
until the cards are there, until the document is whole and its scripts run (``domInteractive``), until the last chart is drawn. CPU is
that of the server's process, which depends less on what else the machine does.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from otel_usage.serve.store.store import Store
from tests.hosts import ROOT
from tests.serve.pages.conftest import find_browser
from tests.serve.store.stores import ServeProcess

from .questions import DAYS, END, fill

SIZES = (100_000, 1_000_000, 10_000_000)
DEADLINE_MS = 120_000
MARK_CARDS = """
new MutationObserver((_, observer) => {
  if (document.querySelectorAll(".card").length < 5) return;
  performance.mark("cards");
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
DRAWN = (
    "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg path')) && performance.now()"
)
TIMES = """() => {
  const [navigation] = performance.getEntriesByType("navigation");
  return [performance.getEntriesByName("first-contentful-paint")[0].startTime,
    performance.getEntriesByName("cards")[0].startTime, navigation.domInteractive];
}"""


def cpu_seconds(pid: int) -> float:
    """Return how much a process has used, of user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_overview(browser: Browser, address: str) -> list[float]:
    """Return the milliseconds until: something is painted, the cards are there, the document is whole, charts are drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.add_init_script(MARK_CARDS)
    page = context.new_page()
    page.set_default_timeout(DEADLINE_MS)
    page.goto(address)
    drawn = page.wait_for_function(DRAWN, timeout=DEADLINE_MS).json_value()
    times: list[float] = [*page.evaluate(TIMES), drawn]
    context.close()
    return times


@contextmanager
def filled(folder: Path, events: int) -> Iterator[Path]:
    """Yield the path of a store with about so many events, which is removed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pages.duckdb"
    try:
        with Store(path, threads=2) as store:
            fill(store, events)
        yield path
    finally:
        for left in folder.glob("pages.duckdb*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def main(words: list[str] | None = None) -> None:
    """Fill, open, print."""
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for events in [int(word) for word in words or ()] or SIZES:
            with filled(ROOT / "build" / "pages", events) as path, ServeProcess(path) as server:
                print(f"{events:,} events, load {os.getloadavg()[0]:.1f}")
                print(f"{'ms until':28}{'painted':>9}{'cards':>9}{'whole':>9}{'charts':>9}{'server, CPU s':>16}")
                for days in (28, DAYS):
                    query = f"app=mycli&start={END - timedelta(days - 1)}&end={END}"
                    for again in ("", ", again"):
                        used = cpu_seconds(server.pid)
                        times = open_overview(browser, f"{server.url}/?{query}")
                        row = "".join(f"{one:9,.0f}" for one in times)
                        print(f"{f'{days} days{again}':28}{row}{cpu_seconds(server.pid) - used:16.2f}", flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
