"""``otel-usage verify`` proves that off is off, and finds out when it is not."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_usage.cli.run import is_python
from otel_usage.cli.verify import compare
from tests.conftest import PROGRAMS

from .conftest import User

PROGRAM = [sys.executable, str(PROGRAMS / "controlled.py"), "report"]
OFF = [
    {"PROG_TELEMETRY": "off"}, {"PROG_DISABLE_ANALYTICS": "1"}, {"DO_NOT_TRACK": "1"}, {"OTEL_SDK_DISABLED": "true"},
    {"OTEL_USAGE_DISABLED": "1"}, {"CI": "1", "T_CONSENT": "opt-out"}, {"T_CONSENT": "opt-in"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """What the programs write into their working directory is not left in ours."""
    monkeypatch.chdir(tmp_path)


def verified(user: User, *, strace: bool = False, **env: str) -> Any:
    """Return what ``otel-usage verify --json`` prints, with its exit code. strace: it may be found."""
    path = user.environ["PATH"] if strace else str(user.tmp)
    ended = user.ours("verify", "--json", "--", *PROGRAM, OTEL_USAGE_SENDER="detached", PATH=path, **env)
    assert b"" == ended.err
    return {**json.loads(ended.out), "status": ended.status}


@pytest.mark.parametrize("env", OFF, ids=["-".join(env) for env in OFF])
def test_off_is_off(user: User, env):
    """Each way to be off: no socket, lookup, process or file but our one module and the place of the choice."""
    told = verified(user, **env)

    assert [] == told["only_with_us"]
    assert 0 == told["status"]
    assert [] == user.kept


def test_a_stored_off_is_off(user: User):
    """The stored choice is read, and that is all."""
    user.choose("off")

    told = verified(user)

    assert 0 == told["status"]
    assert str(user.folder / "consent") in told["allowed"]


def test_strace_watches_too_where_there_is_one(user: User):
    """What no audit hook sees, such as a file looked at by C code, is seen from outside."""
    told = verified(user, strace=True, DO_NOT_TRACK="1")

    assert ("strace" in told["watched_by"]) == (shutil.which("strace") is not None)
    assert [] == told["only_with_us"]


def test_on_is_found_out(user: User):
    """While telemetry is on, the file of the run and the process that sends it are named, and the exit code is 1."""
    told = verified(user, PROG_TELEMETRY="on")

    assert 1 == told["status"]
    kinds = {kind for kind, _ in told["only_with_us"]}
    assert {"file", "process"} <= kinds
    assert any("/open/" in what for _, what in told["only_with_us"])


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("socket", "import socket; socket.socket().close()"),
        ("lookup", "import socket; socket.getaddrinfo('localhost', 80)"),
        ("process", "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])"),
        ("file", "open('/etc/hostname').close()"),
        ("file", "import os; os.mkdir('made-by-us')"),
    ],
)
def test_a_gate_that_does_more_is_found_out(user: User, kind, code):
    """If being off did anything at all, it would be seen: here a sabotaged copy of us does."""
    package = user.tmp / "work" / "otel_usage"
    package.mkdir()
    (package / "__init__.py").write_text(f"def init(*args, **kwargs):\n    {code}\n")
    program = user.tmp / "work" / "prog.py"
    program.write_text("import otel_usage\notel_usage.init('prog')\n")

    found = compare([sys.executable, str(program)], {**user.environ, "PYTHONPATH": str(user.tmp / "work")}, strace=None)

    assert not found.clean
    assert kind in {k for k, _ in found.foreign}


def test_what_the_program_does_itself_is_not_ours(user: User):
    """Files, sockets and processes of the program's own appear in both runs, and are nobody's fault."""
    program = user.tmp / "work" / "busy.py"
    program.write_text(
        "import otel_usage, socket, subprocess, sys, tempfile\n"
        "otel_usage.init('prog', version='1', consent='opt-in')\n"
        "socket.socket().close()\nsubprocess.run([sys.executable, '-c', ''])\n"
        "tempfile.NamedTemporaryFile().close()\nopen('out.txt', 'w').close()\n"
    )

    found = compare([sys.executable, str(program)], {**user.environ, "DO_NOT_TRACK": "1"}, strace=None)

    assert [] == found.foreign


@pytest.mark.parametrize(("words", "status"), [([], 2), (["/bin/true"], 2), (["no-such-program"], 2)])
def test_what_cannot_be_verified_is_wrong_usage(user: User, words, status):
    """No program, no Python program, none of that name: 2, never a false proof."""
    ended = user.ours("verify", "--", *words)

    assert status == ended.status
    assert ended.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "prog.py", "-S"], True), (["python", "-m", "prog", "-I"], True), (["python", "-c", "", "-E"], True),
        (["python", "-W", "ignore", "prog.py"], True), (["python", "-Wignore::ImportWarning", "x.py"], True),
        (["python", "-X", "importtime", "prog.py"], True), (["python", "-Ic", ""], False), (["python", "-u", "-S", "x"], False),
        (["python", "-W", "error", "-I", "x"], False), (["python"], True), (["python", "-", "-S"], True),
        (["python", "--check-hash-based-pycs", "always", "-E", "x"], False),
    ],
)  # fmt: skip
def test_only_pythons_own_options_count(words, expected):
    """What follows the program's name, ``-m`` or ``-c`` is the program's."""
    assert expected == is_python("/usr/bin/python3", words)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/usr/bin/python3", True), ("/usr/bin/python3 -I", False), ("/usr/bin/env -S python3 -u", True),
        ("/usr/bin/env python3", True), ("/usr/bin/python3 -Wignore -sE", False), ("/bin/sh", False),
    ],
)  # fmt: skip
def test_a_scripts_first_line_says_what_it_is(tmp_path, line, expected):
    """Options before the interpreter's name are those of ``env``."""
    file = tmp_path / "prog"
    file.write_text(f"#!{line}\n")

    assert expected == is_python(str(file), ["prog", "-S"])
