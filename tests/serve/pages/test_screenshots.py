"""The pictures of docs/: each is there, is shown, and is taken again by its script."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tests.hosts import ROOT

FOLDER = ROOT / "docs" / "screenshots"
# What a reader is to see of the pages, in the documentation.
NAMES = {
    "overview", "overview-dark", "phone", "question", "cohorts", "program", "live", "empty", "one-event", "sign-in", "demo",
}  # fmt: skip


def size_of(picture: Path) -> tuple[int, int]:
    """Return width and height of a PNG."""
    head = picture.read_bytes()[:24]
    assert b"\x89PNG" == head[:4], picture
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_each_picture_is_there_and_shown() -> None:
    """Ten of generated events and one of what the demonstration's programs did; no other lies beside them."""
    pages = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")

    assert NAMES == {path.stem for path in FOLDER.iterdir()}
    assert NAMES == {name for name in NAMES if f"screenshots/{name}.png" in pages}


def test_they_are_taken_again(browser: Any, tmp_path: Path) -> None:
    """The script of `make screenshots` takes each of them, with its charts drawn, of the width and height of the one in docs/."""
    from docs import screenshots

    screenshots.take(browser, [], lambda picture, path: path.write_bytes(picture), tmp_path, installations=40)

    assert {name: size_of(FOLDER / f"{name}.png") for name in NAMES} == {
        path.stem: size_of(path) for path in tmp_path.iterdir()
    }
