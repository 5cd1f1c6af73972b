"""Write docs/screenshots/: the pages of ``otel-usage serve``, of a generated year, in a real browser. ``make screenshots``.

The year is the same each time, so a picture changes where a page does (and with the day on which it was made).
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from otel_usage.cli import demo
from otel_usage.serve.questions.sample_year import SCHEMA
from otel_usage.serve.serving import DEMO_NOTICE
from tests.serve.pages.conftest import find_browser
from tests.serve.pages.serving import run_now, serving, year
from tests.serve.store.stores import ServeProcess

FOLDER = Path(__file__).parent / "screenshots"
INSTALLATIONS = 400
TOKEN = "a-token-of-viewers"  # noqa: S105  of a server that lives for seconds
DRAWN = "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg path'))"
WIDE, MIDDLE, PHONE = (1280, 860), (900, 700), (390, 780)


@dataclass(frozen=True)
class Picture:
    """A picture: its name, which server is shown, the address there, width and height, theme, and what is done first."""

    name: str
    server: str
    path: str
    size: tuple[int, int] = WIDE
    theme: str = "light"
    first: Callable[[Any], object] | None = None  # Any: a page of Playwright's


PICTURES = (
    Picture("overview", "year", "/?app=digest&days=90"),
    Picture("overview-dark", "year", "/?app=digest&days=90", theme="dark"),
    Picture("phone", "year", "/?app=digest", PHONE),
    Picture("question", "year", "/questions/commands?app=digest", MIDDLE),
    Picture("cohorts", "year", "/questions/cohorts?app=digest&days=90", MIDDLE, "dark"),
    Picture(
        "program",
        "year",
        "/app?app=digest",
        MIDDLE,
        first=lambda page: page.get_by_text("What it declares").last.scroll_into_view_if_needed(),
    ),
    Picture(
        "live", "year", "/live", MIDDLE, "dark", first=lambda page: page.wait_for_selector(".pulse[data-state=open]")
    ),
    Picture("demo", "demo", "/live", MIDDLE, first=lambda page: page.wait_for_selector(".pulse[data-state=open]")),
    Picture("empty", "empty", "/", MIDDLE, first=lambda page: page.wait_for_selector(".pulse[data-state=open]")),
    Picture("one-event", "one", "/?app=hello&days=7", MIDDLE),
    Picture("sign-in", "locked", "/", MIDDLE, "dark"),
)


def run_demo(folder: Path, address: str) -> None:
    """Run what ``otel-usage demo`` runs, but to the server at *address*, and return when all of it has arrived there."""
    work = folder / "work"
    work.mkdir()
    (work / "notes.txt").write_text("remember the milk\n")
    (work / "secret-plan.txt").write_text("x" * 2_000_000)
    environ = demo._environment(folder, address)
    environ.update(OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="otlp")
    for program, arguments in demo.RUNS:
        command = [sys.executable, str(demo.examples_folder() / program), *arguments]
        subprocess.run(command, env=environ, cwd=work, capture_output=True, check=False)
    deadline = time.monotonic() + demo.DEADLINE_S
    while requests.get(f"{address}/live", timeout=60).text.count(">run<") < len(demo.RUNS):
        assert time.monotonic() < deadline, "not all runs of the demonstration arrived"
        time.sleep(0.5)


def shrink(picture: bytes, path: Path) -> None:
    """Write a PNG with a palette: a page has few colours, and the repository keeps every version of it."""
    from PIL import Image  # which nothing else needs

    with Image.open(io.BytesIO(picture)) as image:
        palette = image.convert("RGB").quantize(160, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette.save(path, optimize=True)


def take(
    browser: Any, names: Sequence[str], write: Callable[[bytes, Path], object], out: Path, installations: int
) -> None:
    """Have the pictures of these names, or all, written into *out*. installations: of the generated year. Any: Playwright's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(name: str, events: Sequence[Sequence[Any]] = (), **options: Any) -> str:  # Any: events' values
            (folder / name).mkdir()
            address, _ = stack.enter_context(serving(folder / name, events, **options))
            return str(address)

        servers = {
            "year": start("year", year("digest", installations), schemas={"digest": SCHEMA}, notice=DEMO_NOTICE),
            "empty": start("empty"),
            "one": start(
                "one", [run_now(app="hello", name="greet", installation="00000000-0000-4000-a000-000000000001")]
            ),
            "locked": start("locked", viewers=(TOKEN,)),
        }
        (folder / "demo").mkdir()
        servers["demo"] = stack.enter_context(ServeProcess(folder / "demo" / "usage.duckdb")).url
        if not names or "demo" in names:
            run_demo(folder / "demo", servers["demo"])
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            width, height = picture.size
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=picture.theme,
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(servers[picture.server] + picture.path)
            if picture.first:
                picture.first(page)
            page.wait_for_function(DRAWN)
            write(page.screenshot(), out / f"{picture.name}.png")
            context.close()


def main(names: Sequence[str]) -> None:
    """Write the pictures of these names, or all, into the documentation."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        take(browser, names, shrink, FOLDER, INSTALLATIONS)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
