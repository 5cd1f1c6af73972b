"""The class of an error is named if the program's own text names it; a class named after data is not."""

from __future__ import annotations

import pytest

from ..hosts import INTERPRETERS, Host, version_of

HEAD = """
import sys
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
"""
CLASSES = {
    "class Mine(Exception): pass\ndef f():\n try: raise Mine\n except Mine: sys.exit(2)\ndef g(): f()\ng()": "__main__.Mine",
    "class Mine(Exception): pass\nraise Mine": "__main__.Mine",
    "class A:\n class Mine(Exception): pass\nraise A.Mine": "__main__.A.Mine",
    "if True:\n class Mine(ValueError): pass\ndef f(): raise Mine\nf()": "__main__.Mine",
    "def f():\n class Mine(Exception): pass\n raise Mine\nf()": "_OTHER",
    "E = type('ada', (Exception,), {})\nada = E\nraise E": "_OTHER",
    "for name in sys.argv[1:]: globals()[name] = type(name, (Exception,), {})\nraise ada": "_OTHER",
    "import enum\nclass Codes(enum.Enum): x = 1\nclass Mine(Exception): pass\ntry: raise Mine\nexcept Mine: sys.exit(2)": "__main__.Mine",
}


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", CLASSES, ids=repr)
def test_the_class_of_an_error(host: Host, source: str, python: str) -> None:
    """In a script."""
    host.run(f"{HEAD}{source}\n", "ada", python=python)

    assert CLASSES[source] == host.the_run.ending[2]


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize(
    ("made", "expected"),
    [("class Mine(Exception): pass", "errors.Mine"), ("Mine = type('Mine', (Exception,), {})", "_OTHER")],
)
def test_the_class_of_an_error_in_the_programs_package(host: Host, made: str, expected: str, python: str) -> None:
    """In a module of the package that runs."""
    package = host.tmp / "work" / "tool"
    package.mkdir()
    (package / "errors.py").write_text(f"{made}\n")
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"{HEAD}from .errors import Mine\nraise Mine\n")

    host.run("-m", "tool", python=python)

    assert f"tool.{expected}" == host.the_run.ending[2] or expected == host.the_run.ending[2]
