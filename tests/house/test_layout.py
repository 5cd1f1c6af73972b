"""The rules of the house: a folder is a ring, no circles, files of one noun, one owner of every path on disk."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from ..hosts import ROOT
from .code import MODULES, PACKAGES, PATHS, THIN, TREES, imports, nodes, ring

MAX_LINES = 400
# Longer ones, each with its reason in its head.
LONGER: set[str] = set()
# Imports that point outward on purpose, each inside a function that few programs call.
OUTWARD = {
    ("otel_usage.recording.handle", "otel_usage.schema.declaration"),  # the strict check, in tests and development
    ("otel_usage", "otel_usage.settings.development"),  # likewise
    (
        "otel_usage.consent.notice",
        "otel_usage.settings.remembered",
    ),  # what is new, once per version of what is collected
    ("otel_usage.cli", "otel_usage.server.serve"),  # the command, where the extra is installed
    ("otel_usage.cli", "otel_usage.server.command"),
}
TESTS = ROOT / "tests"
TEST_FILES = sorted(TESTS.rglob("*.py"))
# Folders of tests of what is no folder of the package.
OTHER_TESTS = {"collector", "deploy", "exporters", "house", "outside", "typing"}
BANNED = {"told", "found", "kept", "made", "data", "given", "noted", "said", "info", "stuff", "fate", "_ours"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_inward(module: str) -> None:
    """A module imports its own ring, or one further in: the folder says which. Inside functions too."""
    outward = {
        other
        for other in imports(module)
        if ring(other) > ring(module) and other not in THIN and (module, other) not in OUTWARD
    }

    assert set() == outward


@pytest.mark.parametrize("top", [True, False], ids=["when imported", "anywhere"])
def test_no_module_imports_itself_by_way_of_others(top: bool) -> None:
    """There is no circle of imports, not even one that functions close; but for the front door, which everybody knows."""
    graph = {module: imports(module, top=top) - {"otel_usage", "otel_usage_exporters"} for module in MODULES}
    circles = []
    state: dict[str, int] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        if state.get(module) == 1:
            circles.append([*way[way.index(module) :], module])
        elif module not in state:
            state[module] = 1
            for other in sorted(graph[module]):
                visit(other, (*way, module))
            state[module] = 2

    for module in graph:
        visit(module, ())

    assert [] == circles


@pytest.mark.parametrize("path", PATHS, ids=lambda path: "/".join(path.parts[-3:]))
def test_files_are_short(path) -> None:
    """At most 400 lines, but for at most three files that say why in their heads."""
    longer = {MODULES[module] for module in LONGER}
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= MAX_LINES or path in longer, lines
    assert len(LONGER) <= 3
    if path in longer:
        assert lines > MAX_LINES, "no longer longer: take it out of the list"
        assert "One file" in (ast.get_docstring(TREES[path]) or ""), "its head does not say why it is one file"


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_files_of_the_tests_are_short(path) -> None:
    """At most 400 lines, and a docstring that names their subject; there are no exceptions."""
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= MAX_LINES, "split it by subject"
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), "its head does not say what it is about"


def test_the_tests_mirror_the_package() -> None:
    """A folder of tests is one of the package's, or one that is listed; no two files of tests have one name."""
    folders = {path.name for path in (ROOT / "otel_usage").iterdir() if path.is_dir()}
    files = [path for path in TEST_FILES if path.name.startswith("test_")]

    assert {path.relative_to(TESTS).parts[0] for path in files if path.parent != TESTS} <= folders | OTHER_TESTS
    assert [] == sorted(name for name, n in Counter(path.name for path in files).items() if n > 1)


def test_every_module_says_what_it_is_for() -> None:
    """A docstring whose first line is a sentence, in every module; the folder says the ring, so no docstring does."""
    silent = []
    for path, tree in TREES.items():
        docstring = ast.get_docstring(tree) or ""
        if not docstring or docstring.startswith("TODO") or re.search(r"^Ring \d", docstring, re.MULTILINE):
            silent.append(str(path))

    assert [] == silent


def disk_names() -> set[str]:
    """Return what only spool/layout.py may spell: the names in it that are no ordinary words alone."""
    values = set()
    for node in TREES[MODULES["otel_usage.spool.layout"]].body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            values.add(str(node.value.value))
    return values


def test_names_on_disk_are_spelled_once() -> None:
    """No module but spool/layout.py spells the name of a folder or file of ours: as a path's part, or whole in a join."""
    names = disk_names() - {"1", "."}
    spelled = []
    for path, tree in TREES.items():
        if path == MODULES["otel_usage.spool.layout"]:
            continue
        for node in nodes(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = set(node.value.split("/")) if node.value.startswith("/") else set()
                if parts & names and not node.value.startswith(("/proc", "/v1", "/bin", "/debug/mp/collect", "/batch")):
                    spelled.append((str(path.name), node.lineno, node.value))
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "join":
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and argument.value in names:
                        spelled.append((str(path.name), node.lineno, argument.value))

    assert [] == spelled


def identifiers(tree: ast.AST) -> list[tuple[int, str]]:
    """Return (line, name) of everything that is named: variables, parameters, attributes, functions, classes."""
    rows: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            rows.append((node.lineno, node.id))
        elif isinstance(node, ast.arg):
            rows.append((node.lineno, node.arg))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            rows.append((node.lineno, node.attr))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            rows.append((node.lineno, node.name))
    return rows


def test_no_name_means_everything() -> None:
    """No variable, parameter, attribute, function or class is called "told", "found", "kept" and the like."""
    # A parameter named by somebody else's interface keeps its name.
    others = {("connection.py", "data"), ("otlp_session.py", "data")}
    named = [
        (str(path.relative_to(path.parents[1])), line, name)
        for path, tree in TREES.items()
        for line, name in identifiers(tree)
        if name in BANNED and (path.name, name) not in others
    ]

    assert [] == named


def test_what_is_looked_for_can_be_found() -> None:
    """The checks above can fail: a circle, an outward import, a spelled name and a banned one are seen."""
    tree = ast.parse("def f(told):\n    found = told\n    self.kept = 1\n")

    assert {"told", "found", "kept"} <= {name for _, name in identifiers(tree)}
    assert {"consent", "wake", "new", "open", "queue", "ledger.jsonl"} <= disk_names()
    assert "otel_usage.recording.frameworks" in imports("otel_usage.recording.run")
    assert (0, 1, 2) == (ring("otel_usage.recording.run"), ring("otel_usage.otlp"), ring("otel_usage.server.app"))
    assert len(PACKAGES) == 2
