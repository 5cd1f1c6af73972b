"""A secret that a program meets is in no byte that we write."""

import os
from pathlib import Path

import pytest

from ..hosts import Host

SECRET = "Xq7SecretZk"

HEAD = """
import otel_usage, sys
schema = {
    "did": {"why": "x", "fields": {"format": ["pdf"], "size": otel_usage.bucket("MB", 1, 10),
                                   "flag": bool, "many": otel_usage.integer(100), "of": otel_usage.version()}},
    "n": {"kind": "count", "why": "x", "fields": {"format": ["pdf"]}},
    "bad": {"kind": "error", "why": "x"},
}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
S = "".join(["Xq7", "SecretZk"])  # no literal of the program
"""
ARGPARSE = """
import argparse
parser = argparse.ArgumentParser("prog")
parser.add_argument("--password")
commands = parser.add_subparsers()
commands.add_parser("report").add_argument("file", nargs="*")
"""
CLICK = """
import click
@click.group()
@click.option("--password")
def cli(password): pass
@cli.command()
@click.argument("file", nargs=-1)
def report(file): {body}
"""
LEAKS = {
    "option values": (ARGPARSE + "parser.parse_args()", ["--password", SECRET, "report", SECRET]),
    "glued option values": (ARGPARSE + "parser.parse_args()", [f"--password={SECRET}", "report"]),
    "unknown options": (ARGPARSE + "parser.parse_known_args()", [f"--{SECRET}", "report", f"-{SECRET}"]),
    "wrong options": (ARGPARSE + "parser.parse_args()", ["report", f"--{SECRET}"]),
    "wrong commands": (ARGPARSE + "parser.parse_args()", [SECRET]),
    "wrong choices": (ARGPARSE + "parser.add_argument('-c', choices=['a']); parser.parse_args()", ["-c", SECRET]),
    "error text": (ARGPARSE + "parser.parse_args(); parser.error(S)", ["report"]),
    "exit text": (ARGPARSE + "parser.parse_args(); sys.exit(S)", ["report"]),
    "exceptions": (ARGPARSE + "parser.parse_args(); raise ValueError(S)", ["report"]),
    "exception notes": ("e = ValueError(S); e.note = S; e.__notes__ = [S]; raise e", []),
    "class names": ("raise type(S, (Exception,), {})(S)", []),
    "class names of a module": ("raise type(S, (ValueError,), {'__module__': 'builtins'})(S)", []),
    "class names in a class": ("class A: pass\nB = type('B', (Exception,), {'__qualname__': S})\nraise B(S)", []),
    "module names": (
        "import types\nm = types.ModuleType(S)\nexec('class E(Exception): 0', m.__dict__)\nraise m.E(S)",
        [],
    ),
    "groups": ("raise BaseExceptionGroup(S, [ValueError(S)]) if sys.version_info >= (3, 11) else ValueError(S)", []),
    "click values": (CLICK.format(body="pass") + "cli()", ["--password", SECRET, "report", SECRET]),
    "click commands": (CLICK.format(body="pass") + "cli()", [SECRET]),
    "click options": (CLICK.format(body="pass") + "cli()", ["report", f"--{SECRET}"]),
    "click messages": (CLICK.format(body="raise click.ClickException(S)") + "cli()", ["report"]),
    "click usage messages": (CLICK.format(body="raise click.UsageError(S)") + "cli()", ["report"]),
    "click groups of typed words": (
        (
            "import click\nclass G(click.Group):\n"
            " def get_command(self, ctx, name):\n"
            "  self.add_command(click.Command(name, callback=lambda: None))\n"
            "  return super().get_command(ctx, name)\nG('x')()"
        ),
        [SECRET],
    ),
    "commands that were typed": ("usage.command(sys.argv[1])", [SECRET]),
    "commands made of what was typed": ("usage.command('scan ' + sys.argv[1])", [SECRET]),
    "fields": ("usage.action('did', format=S, size=S, flag=S, many=S, of=S)", []),
    "undeclared fields": ("usage.action('did', **{S: S, 'other': S})", []),
    "undeclared names": ("usage.action(S); usage.count(S); usage.error(S); usage.heartbeat(S)", []),
    "fields set later": ("with usage.action('did') as a: a.set(format=S, other=S)", []),
    "counts": ("usage.count('n', format=S); usage.count('n', 1, **{S: 1}); usage.count('n', S)", []),
    "errors in actions": ("with usage.action('did'): raise ValueError(S)", []),
    "errors": ("usage.error('bad', message=S)", []),
    "values that hide": ("class T(str): 0\nusage.action('did', format=T(S), many=type(S, (int,), {})(3))", []),
    "values that lie": (
        (
            "class T(str):\n def __eq__(self, o): return True\n __hash__ = str.__hash__\n"
            "usage.action('did', format=T(S)); usage.count('n', format=T(S))"
        ),
        [],
    ),
}


def found_in(folder: Path) -> list[str]:
    """Return where under *folder* the secret is: file names and every byte of every file."""
    found = []
    for path in folder.rglob("*"):
        if SECRET in str(path.relative_to(folder)) or (path.is_file() and SECRET.encode() in path.read_bytes()):
            found.append(str(path))
    return found


def plant(host: Host) -> dict[str, str]:
    """Put the secret wherever a program lives, and return its environment."""
    work = host.tmp / SECRET
    work.mkdir()
    names = ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "SECRET", SECRET, "VIRTUAL_ENV", "PROG_PASSWORD")
    return {**dict.fromkeys(names, SECRET), "HOME": str(work), "cwd": str(work)}


@pytest.mark.parametrize("leak", LEAKS)
def test_no_secret_reaches_the_disk(host, leak):
    """The secret is planted in arguments, environment, file and user names, and the leak's own place."""
    source, argv = LEAKS[leak]
    env = plant(host)
    cwd = Path(env.pop("cwd"))
    program = cwd / f"{SECRET}.py"
    program.write_text(HEAD + source + "\n")

    process = host.start(
        "-c", f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", *argv, env=env, cwd=cwd
    )
    process.communicate(timeout=30)
    host.run("-m", SECRET, *argv, env={**env, "PYTHONPATH": f"{cwd}:{host.environ['PYTHONPATH']}"}, cwd=cwd)

    assert 2 == len(host.runs), "nothing was recorded"
    assert [] == found_in(host.home)


OPEN = """
from otel_usage.recording import actions, handle
actions.accept = lambda schema, kind, name, fields: (list(fields.items()), [])
"""
WIDE = """
handle._name = lambda run, name, frame: run.name_command([name])
"""


@pytest.mark.parametrize("leak", ["fields", "undeclared fields", "undeclared names", "counts", "fields set later"])
def test_the_search_finds_what_the_allow_list_keeps_out(host, leak):
    """With the allow-list switched off the same search finds the secret."""
    source, argv = LEAKS[leak]
    host.run(HEAD + OPEN + source.replace("usage.count('n', S)", "pass") + "\n", *argv)

    assert [] != found_in(host.home)


def test_the_search_finds_typed_commands_without_the_check_for_literals(host):
    """With the check for literals switched off a typed command is found."""
    host.run(HEAD + OPEN + WIDE + LEAKS["commands that were typed"][0] + "\n", SECRET)

    assert [] != found_in(host.home)


def test_the_search_finds_typed_words_in_words(host):
    """With the look-up of names switched off a typed click command is found."""
    wide = "import otel_usage.recording.click_adapter as a\na.word = lambda state, context: context.info_name\n"
    host.run(HEAD + wide + LEAKS["click groups of typed words"][0] + "\n", SECRET)

    assert [] != found_in(host.home)


def test_what_is_recorded_is_what_the_table_says(host):
    """The keys of a run, its resource and its files' names are a closed list."""
    host.run("argparse_program.py", "-v", "do", "1 / 0")
    run = host.the_run

    assert {
        "usage.kind", "usage.command", "usage.outcome", "usage.options", "process.executable.name",
        "process.exit.code", "error.type", "usage.ci", "usage.tty", "usage.surface",
    } == set(run.attributes)  # fmt: skip
    assert {"service.name", "service.version", "process.runtime.name", "process.runtime.version"} == set(run.resource)
    assert "prog" == run.attributes["process.executable.name"]
    for name in (os.environ.get("USER"), os.uname().nodename, str(host.tmp)):
        if name and name not in ("root", "prog"):
            assert name.encode() not in host.files("new")[0].read_bytes()


def test_files_are_the_users_alone(host):
    """Folders are 0700 and files 0600, whatever the umask."""
    old = os.umask(0)
    try:
        host.run(HEAD + "usage.count('n')\nusage.action('did')\n")
    finally:
        os.umask(old)

    modes = {(p.is_dir(), oct(p.stat().st_mode & 0o777)) for p in (host.home / "prog").rglob("*")}
    assert {(True, "0o700"), (False, "0o600")} == modes
