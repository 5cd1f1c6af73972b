"""Whose run it is: the app's own program, however it was started; and nothing of an app that another program imports."""

import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from ..hosts import INTERPRETERS, ROOT, Host, version_of

CLI = """
import argparse, sys
import otel_usage
usage = otel_usage.init("{app}", version="1.4", consent="opt-in", schema={{"n": {{"kind": "count", "why": "x"}}}})

def main():
    parser = argparse.ArgumentParser("{app}")
    parser.add_subparsers().add_parser("own")
    parser.parse_args()
    usage.count("n")
    return 3
"""
START = {  # as installers write them
    "pip": "import re\nimport sys\nfrom snapkeep.cli import main\nif __name__ == '__main__':\n"
    "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit(main())\n",
    "uv": "import sys\nfrom snapkeep.cli import main\nif __name__ == '__main__':\n"
    "    if sys.argv[0].endswith('-script.pyw'):\n        sys.argv[0] = sys.argv[0][:-11]\n"
    "    elif sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]\n    sys.exit(main())\n",
    "nix": "import sys;import site;import functools;sys.argv[0] = sys.argv[0];"
    "functools.reduce(lambda k, p: site.addsitedir(p, k), [], site._init_pathinfo());\n"
    "import re\nimport sys\nfrom snapkeep.cli import main\nif __name__ == '__main__':\n"
    "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit(main())\n",
}


class Machine:
    """A machine on which the app ``prog`` is installed, whose package is named snapkeep."""

    def __init__(self, host: Host, app: str = "prog") -> None:
        self.host, self.work = host, host.tmp / "work"
        self.packages = host.tmp / "venv" / "lib" / "python3" / "site-packages"
        self.bin = host.tmp / "venv" / "bin"
        self.bin.mkdir(parents=True)
        self.package(self.packages, app)
        host.environ["PYTHONPATH"] = f"{ROOT}:{self.packages}"

    def package(self, at: Path, app: str = "prog") -> None:
        """Put the package snapkeep into the folder *at*."""
        (at / "snapkeep").mkdir(parents=True)
        (at / "snapkeep" / "__init__.py").write_text("")
        (at / "snapkeep" / "cli.py").write_text(CLI.format(app=app))
        (at / "snapkeep" / "__main__.py").write_text("import sys\nfrom snapkeep.cli import main\nsys.exit(main())\n")

    def start(self, *words: str, python: str = sys.executable, **env: str) -> tuple[int, str]:
        """Run a command line in the user's folder: (exit code, what it wrote)."""
        environ = {**self.host.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
        ended = subprocess.run(
            [python, *words],
            cwd=self.work,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout


@pytest.fixture
def machine(host):
    return Machine(host)


def own_run(machine: Machine) -> None:
    """The one run is the app's, of its own command, and it was counted."""
    assert ["own"] == [run.command for run in machine.host.runs]
    assert 3 == machine.host.the_run.ending[0]
    assert 1 == machine.host.counts[("usage.count.n", ())]


@pytest.mark.parametrize("name", ["prog", "hf", "keep-it.py"])
@pytest.mark.parametrize("installer", START)
def test_start_scripts(machine, installer, name):
    """A console script is the app's program, whatever its name; and so it is when a link leads to it (pipx, uv)."""
    script = machine.bin / name
    script.write_text(START[installer])
    assert (3, "") == machine.start(str(script), "own")
    own_run(machine)

    machine.host.clear()
    local = machine.host.tmp / "user" / ".local" / "bin"
    local.mkdir(parents=True)
    (local / name).symlink_to(script)
    assert (3, "") == machine.start(str(local / name), "own")
    own_run(machine)


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_as_a_module(machine, python):
    """``python -m snapkeep`` and ``python -m snapkeep.cli`` are."""
    assert (3, "") == machine.start("-m", "snapkeep", "own", python=python)
    own_run(machine)

    machine.host.clear()
    with (machine.packages / "snapkeep" / "cli.py").open("a") as file:
        file.write("if __name__ == '__main__':\n    sys.exit(main())\n")
    assert (3, "") == machine.start("-m", "snapkeep.cli", "own", python=python)
    own_run(machine)


@pytest.mark.parametrize(
    "how",
    [
        (),
        ("-m", "pdb", "-c", "continue"),
        ("-m", "cProfile", "-o", "/dev/null"),
        ("-m", "trace", "--count", "-C", "/tmp"),
    ],
)
def test_scripts(machine, how):
    """A script that holds `init`, or lies beside the package that does, is; under a debugger or profiler, too."""
    if how:
        pytest.importorskip(how[1])
    source = CLI.format(app="prog") + "if __name__ == '__main__':\n    sys.exit(main())\n"
    (machine.work / "anything.py").write_text(source)
    machine.start(*how, "anything.py", "own")
    assert ["own"] == [run.command for run in machine.host.runs]

    machine.host.clear()
    machine.package(machine.work)
    (machine.work / "start.py").write_text("from snapkeep.cli import main\nraise SystemExit(main())\n")
    machine.start(*how, "start.py", "own", PYTHONPATH=str(ROOT))
    assert ["own"] == [run.command for run in machine.host.runs]


def test_under_coverage(machine):
    """``coverage run`` of a start script is the app's program; and ``coverage run -m``."""
    pytest.importorskip("coverage")
    (machine.bin / "prog").write_text(START["pip"])
    environ = {"COVERAGE_FILE": str(machine.host.tmp / "coverage")}
    for words in ((str(machine.bin / "prog"),), ("-m", "snapkeep")):
        machine.host.clear()
        machine.start("-m", "coverage", "run", *words, "own", **environ)
        assert ["own"] == [run.command for run in machine.host.runs]


@pytest.mark.parametrize("name", ["prog.pyz", "keep.zip", "other"])
def test_a_zip_file(machine, name):
    """A zipapp is, whatever the name of the file; and so is a folder that is run."""
    folder = machine.host.tmp / "app"
    machine.package(folder)
    (folder / "__main__.py").write_text("import sys\nfrom snapkeep.cli import main\nsys.exit(main())\n")
    file = machine.work / name
    zipapp.create_archive(folder, file)
    assert (3, "") == machine.start(str(file), "own", PYTHONPATH=str(ROOT))
    own_run(machine)

    machine.host.clear()
    assert (3, "") == machine.start(str(folder), "own", PYTHONPATH=str(ROOT))
    own_run(machine)


def test_a_frozen_program(machine):
    """A program whose modules lie beside its start script, as PyInstaller's do, is."""
    frozen = machine.host.tmp / "dist" / "_internal"
    machine.package(frozen)
    (frozen / "start.py").write_text(
        "import sys\nsys.frozen = True\nfrom snapkeep.cli import main\nsys.argv[0] = '/opt/Keep It'\nsys.exit(main())\n"
    )
    assert (3, "") == machine.start(str(frozen / "start.py"), "own", PYTHONPATH=str(ROOT))
    own_run(machine)


OTHER = """
import argparse, sys
import snapkeep.cli
parser = argparse.ArgumentParser("other")
parser.add_argument("--disable-analytics", action="store_true")
parser.add_subparsers().add_parser("secret-command")
print(parser.parse_args().disable_analytics, sys.argv[1:])
snapkeep.cli.usage.count("n")
with snapkeep.cli.usage.command("scan"): pass
snapkeep.cli.usage.run(int)
sys.exit(5)
"""


@pytest.mark.parametrize("name", ["other.py", "bin/other"])
@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_a_program_that_imports_the_module(machine, name, python):
    """It is not the app: no run of it is recorded, its words stay its own, its command line is not touched."""
    file = machine.work / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        OTHER + ("def a(): pass\nfor b in (): c, d, e, f, g, h, i, j, k, l, m, n, o = b\n" if "bin" in name else "")
    )
    written = machine.start(str(file), "--disable-analytics", "secret-command", python=python)

    assert (5, "True ['--disable-analytics', 'secret-command']\n") == written
    assert [] == machine.host.spans
    assert [] == machine.host.files("open")
    assert 1 == machine.host.counts[("usage.count.n", ())]


IMPORTERS = {
    "-c": ("-c", "import snapkeep.cli, sys; sys.exit(5)"),
    "another's module": ("-m", "othertool"),
    "another's start script": ("{bin}/othertool",),
    "a tool": ("-m", "inspect", "snapkeep.cli"),
    "a documentation builder": ("-m", "pydoc", "snapkeep.cli"),
}


@pytest.mark.parametrize("how", IMPORTERS)
def test_other_programs(machine, how):
    """Whatever else imports the module is another program."""
    (machine.packages / "othertool.py").write_text(
        "import snapkeep.cli\nsnapkeep.cli.usage.count('n')\ndef main(): return 5\n"
    )
    (machine.bin / "othertool").write_text("import sys\nfrom othertool import main\nsys.exit(main())\n")
    machine.start(*[word.format(bin=machine.bin) for word in IMPORTERS[how]])

    assert [] == machine.host.spans
    assert [] == machine.host.files("open")


def test_nothing_is_shown_in_another_program(user):
    """No notice, no question and no line of a service's: they are for the app's own users."""
    (user.tmp / "work" / "lib").mkdir()
    lib = user.tmp / "work" / "lib" / "site-packages"
    lib.mkdir()
    (lib / "guest.py").write_text(
        "import otel_usage\nusage = otel_usage.init('prog', version='1', consent='opt-out')\n"
    )
    shown = user.on_terminal(program="import sys\nsys.path.append('lib/site-packages')\nimport guest\nprint('end')\n")

    assert b"end\n" == shown.out
    assert [] == user.kept


def test_a_service_is_a_program(machine):
    """A service's module may be imported by any server: ``service=True`` says that the process is the service's."""
    text = CLI.format(app="prog").replace('consent="opt-in"', 'consent="opt-in", service=True')
    (machine.packages / "snapkeep" / "cli.py").write_text(text)
    (machine.work / "server.py").write_text(
        "import importlib\nimportlib.import_module('snapkeep.cli').usage.count('n')\n"
    )
    machine.start("server.py")

    assert ["start"] == [span.name for span in machine.host.spans]
    assert [("usage.count.n", 1)] == [(name, n) for (name, _), n in machine.host.counts.items()]


def test_without_command_line(machine):
    """Where ``sys.argv`` is missing or empty nothing fails."""
    for change in ("del sys.argv", "sys.argv = []", "sys.argv = [5]", "del sys.modules['__main__']", "__file__ = None"):
        (machine.work / "odd.py").write_text(f"import sys\n{change}\nimport snapkeep.cli\nprint('end')\n")
        assert (0, "end\n") == machine.start("odd.py")
    shutil.rmtree(machine.host.home / "prog", ignore_errors=True)


MOUNTED = """
import argparse, sys
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-in", schema={})

def main():
    parser = argparse.ArgumentParser("prog")
    otel_usage.mount(parser.add_subparsers(), "privacy")
    parser.parse_args()
"""


def test_mounted_commands_work_in_any_program(machine):
    """``telemetry status`` works where it is not known that the program is the app's; the page names the command."""
    (machine.packages / "snapkeep" / "cli.py").write_text(MOUNTED)
    code, text = machine.start("-c", "from snapkeep.cli import main; main()", "privacy", "status")
    assert (0, True) == (code, "prog: telemetry is on" in text), text

    (machine.packages / "snapkeep" / "cli.py").write_text(MOUNTED + "main()\n")
    code, text = machine.start("-m", "otel_usage.cli", "describe", "snapkeep.cli:usage")
    assert (0, True) == (code, "prog privacy" in text), text
