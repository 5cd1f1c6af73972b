"""The contributors' pages name files and functions that exist."""

from __future__ import annotations

import ast
import re

import pytest

from docs.generate import ALONE, FOLDERS

from ..hosts import ROOT
from .code import RINGS, ring

PAGES = sorted((ROOT / "docs" / "contributing").glob("*.md"))
ADVICE = [*PAGES, ROOT / "CONTRIBUTING.md"]


def names_in(module: str) -> set[str]:
    """Return everything that is defined in the modules whose path ends so: classes, functions, methods, constants."""
    names: set[str] = set()
    paths = [p for folder in ("otel_usage", "exporters") for p in (ROOT / folder).rglob(module.rpartition("/")[2])]
    for path in paths:
        if path.as_posix().endswith("/" + module):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    names.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_function_that_is_named_exists(page) -> None:
    """``module.py: function`` names a function of that module."""
    pairs = re.findall(r"`([\w/]+\.py):\s+(\w+)`", page.read_text(encoding="utf-8"))

    assert [] == [(module, name) for module, name in pairs if name not in names_in(module)]
    assert pairs or page.name.startswith("add-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_is_named_exists(page) -> None:
    """``folder/module.py``, in code font and below one of our packages, is there."""
    modules = set(re.findall(r"`([a-z]\w*/[\w/]+\.py)(?::\s+\w+)?`", page.read_text(encoding="utf-8")))
    roots = (ROOT, ROOT / "otel_usage", ROOT / "exporters" / "otel_usage_exporters")

    assert [] == sorted(module for module in modules if not any((root / module).exists() for root in roots))


@pytest.mark.parametrize("page", ADVICE, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page) -> None:
    """A path in code font is there, in the repository or below the package."""
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:otel_usage|tests|docs|exporters|collector-config)/[\w./-]+)`", text))
    links = set(re.findall(r"\]\(([\w./-]+)\)", text))

    paths -= {"exporters/otel_usage_exporters/toy"}  # the example that a reader makes
    assert [] == sorted(path for path in paths if not (ROOT / path).exists() and "<" not in path)
    assert [] == sorted(link for link in links if not (page.parent / link).exists())


def test_the_generated_tables_have_every_folder_with_its_ring() -> None:
    """The rings that the pages show are those that the tests hold imports against."""
    package = ROOT / "otel_usage"
    folders = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    modules = {path.stem for path in package.glob("*.py")}

    assert folders - {"relay"} == set(FOLDERS)  # relay/ forwards to server/ for one release
    assert {name: RINGS.get(f"otel_usage.{name}", 1) for name in FOLDERS} == FOLDERS
    assert modules - {"__init__", "__main__"} == set(ALONE)
    assert {name: ring(f"otel_usage.{name}") for name in ALONE} == ALONE
