"""Whatever is passed to sys.exit is not asked: the program ends as it does without us, and our number is right."""

from __future__ import annotations

import pytest

from ..hosts import INTERPRETERS, Host, version_of
from .test_unchanged import same

HEAD = """
import sys
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
"""
# What answers to an operator, a comparison or a question, and must be asked none.
STATUSES = {
    "a mock": "from unittest.mock import MagicMock\nstatus = MagicMock()",
    "a mock of an int": "from unittest.mock import MagicMock\nstatus = MagicMock(spec=int)",
    "a mock of a SystemExit": "from unittest.mock import MagicMock\nstatus = MagicMock(spec=SystemExit)",
    "matmul": "class C:\n def __matmul__(self, o): return self\n def __rmatmul__(self, o): return self\nstatus = C()",
    "a class that raises at everything": """
class C:
    def no(self, *_): raise RuntimeError("asked")
    __eq__ = __ne__ = __bool__ = __int__ = __index__ = __hash__ = __len__ = __iter__ = __matmul__ = __getattr__ = no
    def __str__(self): return "as C asks for it"
status = C()""",
    "a class property that raises": """
class C:
    @property
    def __class__(self): raise RuntimeError("asked")
    def __str__(self): return "as C asks for it"
status = C()""",
    "an int that lies": """
class C(int):
    def no(self, *_): raise RuntimeError("asked")
    __eq__ = __ne__ = __bool__ = __int__ = __index__ = __lt__ = __le__ = __and__ = __neg__ = no
    __hash__ = int.__hash__
status = C(3)""",
    "an IntEnum": "import enum\nclass C(enum.IntEnum):\n A = 7\nstatus = C.A",
    "a string that lies": "class C(str):\n def __eq__(self, o): raise RuntimeError('asked')\n __hash__ = str.__hash__\nstatus = C('text')",
    "a SystemExit with slots": "class C(SystemExit):\n __slots__ = ()\nstatus = C(4)",
    "a SystemExit that hides its code": """
class C(SystemExit):
    def __getattribute__(self, name):
        if name == "__dict__": raise RuntimeError("asked")
        return super().__getattribute__(name)
status = C(4)""",
    "an exception": "status = ValueError('x')",
    "an exception's class": "status = SystemExit",
    "an array": "import array\nstatus = array.array('i', [1, 2])",
}


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_not_asked(host: Host, status: str, python: str) -> None:
    """Output and exit code are those without us, and the code that was recorded is the one that the parent sees."""
    ended = same(host, f"{HEAD}{STATUSES[status]}\nsys.exit(status)\n", python=python)

    # A SystemExit that the program still holds when it ends may have been caught: that is not known, and no guess.
    known = {ended.status, None} if status.startswith("a SystemExit") else {ended.status}
    assert host.the_run.ending[0] in known


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("status", ["a mock", "a class that raises at everything", "an int that lies"])
def test_a_status_is_not_asked_when_it_is_caught_and_raised_again(host: Host, status: str, python: str) -> None:
    """``except SystemExit: raise``, and ``sys.exit(e.code)``: the same status twice is compared by identity."""
    source = f"{HEAD}{STATUSES[status]}\n"
    source += (
        "try:\n try:\n  sys.exit(status)\n except SystemExit as e:\n  sys.exit(e.code)\nexcept SystemExit:\n raise\n"
    )

    ended = same(host, source, python=python)

    assert ended.status == host.the_run.ending[0]


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("call", ["sys.exit(1, 2)", "sys.exit(status=3)", "sys.exit(1, x=2)", "sys.exit(*range(5))"])
def test_a_wrong_call_says_what_the_real_one_says(host: Host, call: str, python: str) -> None:
    """The error of C's own, word by word, and no frame of ours in its traceback."""
    ended = same(host, f"{HEAD}{call}\n", python=python)

    assert b"TypeError" in ended.err


def test_a_test_suite_that_mocks_its_main_ends(host: Host) -> None:
    """``sys.exit(main())`` with main mocked, under unittest: the case that was reported."""
    source = f"""{HEAD}
import unittest
from unittest import mock
def main(): return 0
class T(unittest.TestCase):
    def test_it(self):
        with mock.patch(__name__ + ".main") as mocked, self.assertRaises(SystemExit) as caught:
            sys.exit(main())
        assert caught.exception.code is mocked.return_value
unittest.main(argv=["prog"])
"""
    ended = host.run(source)

    assert (0, b"") == (ended.status, ended.out), ended.err
    assert 0 == host.the_run.ending[0]
