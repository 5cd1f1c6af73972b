"""``otel-usage verify`` proves that off is off."""

from __future__ import annotations

import inspect
import shutil
import sys
from typing import Any

import pytest

import otel_usage
from otel_usage.cli.proof import compare
from otel_usage.cli.python_program import is_python

from ..hosts import ROOT
from ..users import User
from .programs_to_verify import HOST, found_in, leaking, program, verified

OFF = [
    {"PROG_TELEMETRY": "off"}, {"PROG_DISABLE_ANALYTICS": "1"}, {"DO_NOT_TRACK": "1"}, {"OTEL_SDK_DISABLED": "true"},
    {"OTEL_USAGE_DISABLED": "1"},
]  # fmt: skip


@pytest.mark.parametrize("env", OFF, ids=["-".join(env) for env in OFF])
def test_off_is_off(user: User, env):
    """Each way to be off: no socket, lookup, process or file but our one module and the place of the choice."""
    told = verified(user, **env)

    assert [] == told["only_with_us"]
    assert 0 == told["status"]
    assert [] == user.kept


@pytest.mark.parametrize(
    ("env", "source"), [({"T_CONSENT": "opt-in"}, "opt-in"), ({"CI": "1"}, "CI"), ({"PYTEST_CURRENT_TEST": "x"}, "test runner")]
)  # fmt: skip
def test_a_default_that_is_off_is_off(user: User, env, source):
    """``--default`` proves it of what nobody has decided; CI and the test runner count there."""
    told = verified(user, "--default", **env)

    assert [] == told["only_with_us"]
    assert {"layer": "default", "source": source} == told["decided_by"]
    assert 0 == told["status"]


@pytest.mark.parametrize("framework", ["argparse", "click", "typer"])
@pytest.mark.parametrize("show", ["", "1"])
def test_what_is_mounted_is_no_difference(user: User, framework, show):
    """A program that mounts our commands has the same command line without us."""
    told = verified(user, DO_NOT_TRACK="1", T_FRAMEWORK=framework, T_SHOW=show)

    assert [] == told["only_with_us"]
    assert 0 == told["status"]


def test_a_stored_off_is_off(user: User):
    """The stored choice is read, and that is all."""
    user.choose("off")

    told = verified(user)

    assert 0 == told["status"]
    assert "the stored choice" in told["allowed"]
    assert {"layer": "stored", "source": str(user.folder / "consent")} == told["decided_by"]


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
    found = found_in(user, HOST, **leaking(user, code))

    assert not found.clean
    assert kind in {k for k, _ in found.only_with_us}


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

    assert [] == found.only_with_us


@pytest.mark.parametrize(("words", "status"), [([], 2), (["/bin/true"], 2), (["no-such-program"], 2)])
def test_what_cannot_be_verified_is_wrong_usage(user: User, words, status):
    """No program, no Python program, none of that name: 2, never a false proof."""
    ended = user.ours("verify", "--", *words)

    assert status == ended.status
    assert ended.err


INNOCENT = {
    "mkdtemp": "import tempfile\nopen(tempfile.mkdtemp(prefix='mycli-') + '/x', 'w').close()",
    "uuid": "import uuid\nopen(f'{uuid.uuid4()}.lock', 'w').close()",
    "lock": "import multiprocessing\nmultiprocessing.Lock()",
    "pool": (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as pool: print(list(pool.map(abs, [1, 2])))"
    ),
    "port": (
        "import socket\na = socket.create_server(('127.0.0.1', 0))\n"
        "b = socket.create_connection(a.getsockname())\na.close(); b.close()"
    ),
    "cache": "import os\nif not os.path.exists('cache.json'): open('cache.json', 'w').close()",
    "pid": "import os\nopen(f'{os.getpid()}.pid', 'w').close()",
    "bytecode": "import beside",
    "names": (
        "assert otel_usage.__version__ and isinstance(usage, otel_usage.Usage) and usage.settings['app'] == 'prog'\n"
        "try: raise otel_usage.SettingError\nexcept otel_usage.SettingError: pass\n"
        "assert not usage.recording and usage.decision.mode == 'off'\n"
        "assert otel_usage.run(abs, -1) == usage.run(abs, -1) == 1\n"
        "with usage.action('a') as a, usage.command('x'): a.set(b=1)\n"
        "assert otel_usage.init('prog', version='1', consent='opt-in') is usage"
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", INNOCENT.values(), ids=INNOCENT)
@pytest.mark.parametrize("strace", [None, "strace"])
def test_the_program_is_not_accused(user: User, code, strace):
    """Random names, what is done once, and the names of ours that a program may use are no difference."""
    (user.tmp / "work" / "beside.py").write_text("x = 1\n")
    command = program(user, HOST + code)

    found = compare(command, {**user.environ, "DO_NOT_TRACK": "1"}, strace=strace)

    assert found.clean, (found.only_with_us, found.proved_nothing, found.exit_codes)


def test_the_inert_module_has_what_ours_has():
    """Every public name, with the same parameters, and every attribute of the handle."""
    folder = ROOT / "otel_usage" / "startup" / "verify"
    inert: dict[str, Any] = {"__name__": "inert", "_note": lambda *words: None}
    exec((folder / "inert.py").read_text(), inert)

    for name in otel_usage.__all__:
        real = getattr(otel_usage, name)
        if inspect.isroutine(real):
            assert list(inspect.signature(real).parameters) == list(inspect.signature(inert[name]).parameters), name
        assert isinstance(inert[name], type) == isinstance(real, type), name
    handle = inert["Usage"]()
    assert [] == [name for name in dir(otel_usage.Usage()) if not name.startswith("_") and not hasattr(handle, name)]


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
