"""Modules of the interpreter's own are loaded past the import system, and are what it would have loaded."""

from __future__ import annotations

import subprocess

import pytest

from ..hosts import INTERPRETERS, ROOT, version_of

SOURCE = """
import sys
sys.path.insert(0, sys.argv[1])
from otel_usage.recording.builtin_module import builtin_module
for name in sys.argv[2:]:
    was = sys.modules.pop(name, None)
    ours, kept = builtin_module(name), sys.modules.get(name)
    assert kept is ours is builtin_module(name), name
    del sys.modules[name]
    own = __import__(name)
    facts = [(repr(m), vars(m).keys(), m.__loader__, m.__spec__, m.__package__, m.__doc__) for m in (ours, own)]
    assert facts[0] == facts[1], facts
assert builtin_module("json") is __import__("json")
import functools, operator, atexit, collections, argparse
atexit.register(print, "at the end")
"""


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_it_is_the_module_that_import_gives(python: str) -> None:
    """In name, loader, spec and content; what is not built in is imported."""
    words = [python, "-S", "-c", SOURCE, str(ROOT), "atexit", "_functools", "_operator"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (0, "at the end\n", "") == (ended.returncode, ended.stdout, ended.stderr)
