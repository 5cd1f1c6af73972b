"""`otel-usage run` with any Python and any program: the run is recorded, nothing is said, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_usage.cli.python_program import can_run_us, interpreter_of, version_of

from ..hosts import INTERPRETERS, Host
from ..hosts import version_of as name_of

EVERY_PYTHON = sorted({*map(str, Path.home().glob(".pyenv/versions/*/bin/python")), sys.executable})
LEFT = "import os; print([n for n in os.environ if n.startswith('OTEL_USAGE_RUN') or n == 'PYTHONPATH'])"


def run(host: Host, *words: str, **env: str | None) -> subprocess.CompletedProcess[bytes]:
    """Run *words* under ``otel-usage run``; the program does not see where we are imported from."""
    environ = {**host.environ, **env}
    command = [sys.executable, "-I", "-m", "otel_usage.cli", "run", "--app", "prog", "--", *words]
    clean = {
        name: value for name, value in environ.items() if value is not None and (name != "PYTHONPATH" or name in env)
    }
    return subprocess.run(command, env=clean, capture_output=True, check=False, cwd=host.tmp / "work")


@pytest.mark.parametrize("python", EVERY_PYTHON, ids=lambda path: Path(path).parts[-3])
def test_any_python(host: Host, python: str) -> None:
    """2.7, 3.6 and what has come since: exit code and duration are recorded, not a word is said, no variable is left."""
    source = f"{LEFT}\nimport subprocess, sys\nsys.stdout.flush()\nsubprocess.call([{sys.executable!r}, '-c', {LEFT!r}])\nsys.exit(3)"

    ended = run(host, python, "-c", source)

    assert (3, b"[]\n[]\n", b"") == (ended.returncode, ended.stdout, ended.stderr)
    assert 3 == host.the_run.ending[0]


@pytest.mark.parametrize("python", INTERPRETERS, ids=name_of)
@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("print(1)", 0),
        ("import sys, time", 0),
        ("import sys\nsys.exit(3)", 3),
        ("1 / 0", 1),
        ("raise SystemExit(3)", None),
    ],
)
def test_a_program_that_imports_nothing(host: Host, source: str, code: int | None, python: str) -> None:
    """Its outermost frame is there all the same, so that its ending is known; no profiling function is left."""
    file = host.tmp / "work" / "small.py"
    file.write_text(f"{source}\n")

    ended = run(host, python, str(file))
    module = run(host, python, "-m", "small", PYTHONPATH=None) if sys.flags.safe_path else None

    assert module is None or module.returncode == ended.returncode
    assert code == host.runs[0].ending[0]
    assert b"" == ended.stderr or code == 1
    assert b"None\n" == run(host, python, "-c", "import sys; print(sys.getprofile())").stdout


@pytest.mark.parametrize("path", [None, "", "/a", "/a:/b"])
def test_the_programs_own_pythonpath(host: Host, path: str | None) -> None:
    """Is what it was, set or not."""
    source = "import os; print(os.environ.get('PYTHONPATH'), [n for n in os.environ if n.startswith('OTEL_USAGE_RUN')])"

    assert f"{path} []\n".encode() == run(host, sys.executable, "-c", source, PYTHONPATH=path).stdout


def test_a_python_that_is_a_script(host: Host) -> None:
    """A wrapper called python that starts a helper first: one run, with the wrapper's exit code."""
    wrapper = host.tmp / "work" / "python"
    wrapper.write_text(f"#!/bin/sh\n{sys.executable} -c 'import json'\nexec {sys.executable} \"$@\"\n")
    wrapper.chmod(0o755)

    ended = run(host, str(wrapper), "-c", f"{LEFT}\nimport sys; sys.exit(4)")

    assert (4, b"[]\n", b"") == (ended.returncode, ended.stdout, ended.stderr)
    assert 4 == host.the_run.ending[0]


@pytest.mark.parametrize(
    "words", [("/bin/sh", "-c", "exit 5"), ("/bin/sh", "-c", "kill -9 $$"), ("python3", "-I", "-c", "exit(5)")]
)
def test_any_program(host: Host, words: tuple[str, ...]) -> None:
    """What is no Python, or a Python that does not look at PYTHONPATH: code, and signals as a shell has them."""
    ended = run(host, *words)

    assert (ended.returncode if ended.returncode >= 0 else 128 - ended.returncode) == host.the_run.ending[0]
    assert (b"", b"") == (ended.stdout, ended.stderr)


def test_little_is_imported_before_the_program(host: Host) -> None:
    """What a program waits for: our interpreter's start, and less than argparse alone would cost."""
    code = """
import sys
before = set(sys.modules)
import os
os.execve = lambda *_: sys.exit(" ".join(sorted(set(sys.modules) - before)))
from otel_usage.cli import main
main(["run", "--to", "http://127.0.0.1:4318", "--", sys.executable, "-c", "pass"])
"""
    ended = subprocess.run([sys.executable, "-c", code], env=host.environ, capture_output=True, text=True, check=False)

    loaded = set(ended.stderr.split())
    assert {"otel_usage", "otel_usage.cli", "otel_usage.cli.run"} <= loaded
    assert not loaded & {
        "argparse",
        "re",
        "subprocess",
        "signal",
        "importlib.metadata",
        "pathlib",
        "typing",
        "shutil",
        "json",
    }


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ((), 2, b"no program to run"),
        (("--", "no-such-program"), 127, b"is not a program on PATH"),
        (("--nonsense", "x"), 2, b"--nonsense"),
        (("--app",), 2, b"expected one argument"),
        (("--app", "A B", "--", "true"), 2, b"app"),
        (("--to", "http://example.com", "--", "true"), 2, b"http"),
        (("--to", "nonsense=1", "--", "true"), 2, b"nonsense"),
        (("--help",), 0, b"destination"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_said(host: Host, words: tuple[str, ...], status: int, says: bytes) -> None:
    """Wrong usage and wrong settings stop before the program starts."""
    ended = host.run("-m", "otel_usage.cli", "run", *words)

    assert status == ended.status, ended
    assert says in ended.out.lower() + ended.err


def test_which_pythons_can_run_us(tmp_path: Path) -> None:
    """By names alone: a copy in an environment, a version in the name, a script of that name."""
    binary = Path(os.path.realpath(sys.executable)).read_bytes()[:2048]
    for name in ("python", "python2.7", "python3.9", "python3.10", "python3.13t", "python3", "pypy3.10"):
        (tmp_path / name).write_bytes(binary)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").write_bytes(binary)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.1\n")
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "python3.12").write_text("#!/bin/sh\n")

    able = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("py*") if p.is_file() and can_run_us(str(p))]

    assert ["python3.10", "python3.13t", "venv/bin/python"] == sorted(able)
    assert can_run_us(sys.executable)


def test_the_interpreter_of_a_script(tmp_path: Path) -> None:
    """The forms of a first line, those of installers for long paths included."""
    rows = {
        "#!/usr/bin/python3 -u": ("/usr/bin/python3", ["-u"]),
        "#!/bin/sh\n'''exec' \"/a folder/bin/python3\" \"$0\" \"$@\"\n' '''": ("/a folder/bin/python3", []),
        "#!/bin/sh\n'''exec' /long/bin/python3 \"$0\" \"$@\"": ("/long/bin/python3", ['"$0"', '"$@"']),
        "#!/bin/sh": ("", []),
        "#!": ("", []),
        "": ("", []),
    }
    file = tmp_path / "prog"
    for text, expected in rows.items():
        file.write_text(text)
        assert expected == interpreter_of(str(file), ["prog"])


def test_the_version_is_read_by_hand(tmp_path: Path) -> None:
    """As importlib.metadata has it: of the script's distribution, of a module's, unknown if two claim it."""
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, version in (("My_Prog", "1.2.3"), ("other", "2.0rc1+local")):
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "entry_points.txt").write_text(
            f"[other]\nboth = x:y\n[console_scripts]\n{name.lower()} = a:b\nboth=a:b\n"
        )
        (folder / "RECORD").write_text(f"{name.lower()}/__init__.py,,\n")

    def of(script: str, module: str = "") -> str:
        return version_of(str(tmp_path / "bin" / script), module)

    assert ("1.2.3", "2.0rc1+local", "unknown", "unknown") == (of("my_prog"), of("other"), of("both"), of("none"))
    assert ("1.2.3", "unknown") == (of("python", "my_prog.cli"), of("python", "none"))
