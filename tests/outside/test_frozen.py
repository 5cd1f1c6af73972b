"""Programs packed into one file or folder: what is recorded, whether it arrives, and what `status` says where it can't."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipapp
from pathlib import Path

import pytest

from ..hosts import ROOT, Ended, Host, until
from ..spools import Sink
from ..users import settled

BIN = ROOT / "build" / "frozen" / "bin"  # `make frozen`
WHEELS = ROOT / "build" / "frozen-wheel"
slow = [
    pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1"),
    pytest.mark.skipif(not BIN.exists(), reason="make frozen"),
    pytest.mark.timeout(1500),
]
# T_WITHOUT: the same program without us, for the time it takes.
PACKAGE = """
import argparse, os, sys
if "T_WITHOUT" not in os.environ:
    import otel_usage
    otel_usage.init("prog", version="1", consent="opt-in", destinations={"otlp": os.environ["T_SINK"]})

def main():
    parser = argparse.ArgumentParser("keeper")
    scan = parser.add_subparsers().add_parser("scan")
    scan.add_argument("--deep", action="store_true")
    scan.add_argument("path")
    if "T_WITHOUT" not in os.environ:
        otel_usage.mount(parser._subparsers._group_actions[0])
    parser.parse_args()
    print("scanned")
    return 3
"""
START = "import sys\nfrom snapkeep import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "snapkeep"
version = "1"
dependencies = ["otel-usage"]
[project.scripts]
keeper = "snapkeep:main"
"""
NUITKA = [f"--include-package=otel_usage.{name}" for name in ("consent", "control", "recording", "settings", "spool")]
NUITKA += ["--include-module=otel_usage.aliases", "--include-module=otel_usage.setting_error"]


class Packer:
    """A machine on which the program ``keeper`` of the app ``prog`` is packed, and run where nothing else is installed."""

    def __init__(self, tmp: Path) -> None:
        self.folder = tmp / "packed"
        (self.folder / "snapkeep").mkdir(parents=True)
        (self.folder / "snapkeep" / "__init__.py").write_text(PACKAGE)
        (self.folder / "keeper.py").write_text(START)
        (self.folder / "pyproject.toml").write_text(PROJECT)

    def call(self, *words: str, **env: str) -> None:
        """Run a tool of build/frozen in the folder of the program."""
        environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder / "home"), **env}
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=1400)
        assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]

    def wheels(self) -> str:
        """Return a folder with the wheels of the program and of ours."""
        pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps")
        self.call(*pip, "--no-build-isolation", "-w", "wheels", ".")
        for wheel in WHEELS.glob("*.whl"):
            shutil.copy(wheel, self.folder / "wheels")
        return str(self.folder / "wheels")

    def pack(self, way: str) -> Path:
        """Return the program, packed in this way."""
        if way.startswith("pyinstaller"):
            one = way.endswith("file")
            self.call("pyinstaller", "--noconfirm", "--onefile" if one else "--onedir", "keeper.py")
            return self.folder / "dist" / "keeper" if one else self.folder / "dist" / "keeper" / "keeper"
        if way == "nuitka":
            less = "--nofollow-import-to=opentelemetry,grpc"
            (self.folder / "keeper.py").write_text(PACKAGE + START.partition("main\n")[2])  # in one file
            self.call("python", "-m", "nuitka", "--standalone", *NUITKA, less, "keeper.py")
            return self.folder / "keeper.dist" / "keeper.bin"
        wheels = self.wheels()
        if way == "shiv":
            self.call("shiv", "-q", "-c", "keeper", "-o", "keeper.shiv", "--find-links", wheels, "snapkeep")
        elif way.startswith("pex"):
            flags = ["--venv"] if way == "pex-venv" else []
            self.call("pex", "snapkeep", "-f", wheels, *flags, "-c", "keeper", "-o", "keeper.pex")
        elif way == "uv":
            env = {"UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin"}
            self.call("uv", "tool", "install", "--python", "python", "--find-links", wheels, "snapkeep", **env)
        else:
            env = {"PIPX_HOME": str(self.folder / "tools"), "PIPX_BIN_DIR": str(self.folder / "bin")}
            self.call("pipx", "install", f"--pip-args=--find-links {wheels}", "snapkeep", **env)
        return self.folder / {"shiv": "keeper.shiv", "pex": "keeper.pex", "pex-venv": "keeper.pex"}.get(
            way, "bin/keeper"
        )


def run(host: Host, sink: Sink, *words: str, **env: str) -> Ended:
    """Run a packed program."""
    ours = {"T_SINK": sink.address, "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
    environ = {name: text for name, text in {**host.environ, **ours, **env}.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=host.tmp / "work", env=environ, capture_output=True, timeout=60)
    return Ended(done.returncode, done.stdout, done.stderr)


def arrived(host: Host, sink: Sink) -> tuple[str, list[str], int]:
    """Return (command, options, exit code) of the one span that arrives."""
    until(sink.spans, 60)
    settled(host)
    (span,) = sink.spans()
    values = span["attributes"]
    return values["usage.command"], values["usage.options"], values["process.exit.code"]


def quickest_s(host: Host, sink: Sink, *words: str, **env: str) -> float:
    """Return the time that a program takes when nothing disturbs it."""
    times = []
    for _ in range(7):
        start = time.monotonic()
        run(host, sink, *words, **env)
        times.append(time.monotonic() - start)
    return min(times)


def status_of(host: Host) -> str:
    """Return what ``otel-usage status`` of another installation says."""
    return host.run("-m", "otel_usage.cli", "status", "--app", "prog", env={"OTEL_USAGE_SENDER": None}).out.decode()


@pytest.mark.parametrize("way", [pytest.param(way, marks=slow) for way in ("shiv", "pex", "pex-venv", "uv", "pipx")])
def test_what_has_a_python_sends(host: Host, sink: Sink, tmp_path: Path, way: str) -> None:
    """Archives and environments are run by a Python: their runs are recorded under any name, and arrive."""
    program = str(Packer(tmp_path).pack(way))
    run(host, sink, program, "--help", T_WITHOUT="1")  # most unpack themselves at their first start

    ended = run(host, sink, program, "scan", "--deep", "secret")

    assert (3, b"scanned\n", b"") == (ended.status, ended.out, ended.err)
    assert ("scan", ["--deep"], 3) == arrived(host, sink)
    assert [] == host.files("new")
    assert "HTTP 200" in status_of(host)


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=slow) for way in ("pyinstaller-folder", "pyinstaller-file", "nuitka")]
)
def test_what_has_no_python_waits(host: Host, sink: Sink, tmp_path: Path, way: str) -> None:
    """A frozen program records, is quiet, ends as fast as without us, and `status` says why nothing is sent."""
    program = str(Packer(tmp_path).pack(way))

    ended = run(host, sink, program, "scan", "--deep", "secret")

    assert (3, b"scanned\n", b"") == (ended.status, ended.out, ended.err)
    code = None if way == "nuitka" else 3  # its compiled code hides from us how it ends
    assert ("scan", ["--deep"], code) == (host.the_run.command, host.the_run.options, host.the_run.ending[0])
    outside = status_of(host)
    assert "none could be started by the last run: " in outside, outside
    assert "next sending" not in outside
    if way != "nuitka":
        inside = run(host, sink, program, "telemetry", "status")
        assert (0, b"") == (inside.status, inside.err)
        assert b"; records wait" in inside.out
        assert b"1 record" in inside.out
    without_s = quickest_s(host, sink, program, "scan", "x", T_WITHOUT="1")
    assert quickest_s(host, sink, program, "scan", "x") < without_s + 0.1
    assert [] == sink.told


def test_a_zipapp_sends(host: Host, sink: Sink, tmp_path: Path) -> None:
    """A zip file that holds the program and us, of any name: recorded, and sent by a sender that imports from the file."""
    packed = Packer(tmp_path).folder
    shutil.copytree(ROOT / "otel_usage", packed / "otel_usage", ignore=shutil.ignore_patterns("__pycache__"))
    (packed / "keeper.py").rename(packed / "__main__.py")
    zipapp.create_archive(packed, tmp_path / "work" / "keeper.pyz")

    ended = run(host, sink, sys.executable, "keeper.pyz", "scan", "--deep", "secret")

    assert (3, b"scanned\n", b"") == (ended.status, ended.out, ended.err)
    assert ("scan", ["--deep"], 3) == arrived(host, sink)


# Start code of archives, as far as it matters: it unpacks, and enters what the archive's author has named.
ENTER = "def bootstrap(package):\n    from importlib import import_module\n    return import_module(package).main()\n"
ARCHIVES = {
    "shiv": {"_bootstrap/__init__.py": ENTER, "__main__.py": "from _bootstrap import bootstrap\n"},
    "pex": {"pex/__init__.py": "", "pex/pex.py": ENTER, "__main__.py": "from pex.pex import bootstrap\n"},
    "pex-venv": {"__main__.py": ENTER.replace("bootstrap", "boot") + "bootstrap = boot\n"},
}


@pytest.mark.parametrize("entry", ["snapkeep", "another"])
@pytest.mark.parametrize("way", ARCHIVES)
def test_the_package_that_an_archive_enters(host: Host, sink: Sink, tmp_path: Path, way: str, entry: str) -> None:
    """Its run is recorded, though it is unpacked elsewhere; that of a library which it imports is not."""
    unpacked = Packer(tmp_path).folder / "site-packages"
    shutil.move(unpacked.parent / "snapkeep", unpacked / "snapkeep")
    (unpacked / "another.py").write_text("from snapkeep import main\n")
    archive = tmp_path / "archive"
    for name, text in ARCHIVES[way].items():
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_text(text)
    with (archive / "__main__.py").open("a") as file:
        file.write(f"import sys\nsys.path += [{str(unpacked)!r}, {str(ROOT)!r}]\nsys.exit(bootstrap({entry!r}))\n")

    ended = run(host, sink, sys.executable, str(archive), "scan", "x", OTEL_USAGE_SENDER="none")

    assert (3, b"scanned\n", b"") == (ended.status, ended.out, ended.err)
    assert (["scan"] if entry == "snapkeep" else []) == [each.command for each in host.runs]


def test_packers_are_shown_what_is_loaded_by_name() -> None:
    """Every module that `_load` is asked for is named to PyInstaller by the hook, and to Nuitka by docs/spool.md."""
    texts = [path.read_text() for path in (ROOT / "otel_usage").rglob("*.py")]
    loaded = {name for text in texts for name in re.findall(r'\b_load\("([a-z_.]+)"\)', text)}
    hook = (ROOT / "otel_usage" / "pyinstaller" / "hook-otel_usage.py").read_text()
    shown = {
        word for line in re.findall(r"^(?:FOLDERS|MODULES) = (.*)$", hook, re.M) for word in re.findall(r"\w+", line)
    }
    documented = (ROOT / "docs" / "spool.md").read_text()

    assert "aliases" in loaded
    assert set() == {name.partition(".")[0] for name in loaded} - shown
    assert shown == set(re.findall(r"--include-(?:module|package)=otel_usage\.(\w+)", documented))
    assert shown == {word.rpartition(".")[2] for word in NUITKA if "=otel_usage." in word}


def test_modules_whose_code_has_no_folder(host: Host, sink: Sink, tmp_path: Path) -> None:
    """PyInstaller and Nuitka leave the building machine's folders out of the code: the module's file says where it lies."""
    packed = Packer(tmp_path).folder
    (packed / "keeper.py").write_text(
        "import sys, types\nsys.frozen = True\nmodule = sys.modules['snapkeep'] = types.ModuleType('snapkeep')\n"
        f"sys.path.append({str(ROOT)!r})\nmodule.__file__ = file = __file__.replace('keeper.py', 'snapkeep/__init__.py')\n"
        "exec(compile(open(file).read(), 'snapkeep/__init__.py', 'exec'), module.__dict__)\nsys.exit(module.main())\n"
    )

    ended = run(host, sink, sys.executable, str(packed / "keeper.py"), "scan", "x")

    assert (3, b"scanned\n", b"") == (ended.status, ended.out, ended.err)
    assert "scan" == host.the_run.command
    assert "the program is frozen" in status_of(host)
