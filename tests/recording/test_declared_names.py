"""Whose names they are: what a user typed is never an option's name, and a library's parser never renames the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import Host

INIT = 'import argparse, sys, otel_usage\notel_usage.init("prog", version="1", consent="opt-in")\n'
CLICK = 'import click, otel_usage\notel_usage.init("prog", version="1", consent="opt-in")\n'
SECRET = "my_token_abc123"


def record(host: Host, source: str, *argv: str) -> tuple[str, list[str]]:
    """Run *source* and return (command, options)."""
    host.run(source, *argv)
    return host.the_run.command, host.the_run.options


def left_on_disk(host: Host) -> bytes:
    return b"".join(path.read_bytes() for path in host.home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "parser",
    [
        """
class Everything(dict):  # a table that knows every word, as the one of traitlets
    def __contains__(self, name):
        return name.startswith("-") or super().__contains__(name)
    def __getitem__(self, name):
        if super().__contains__(name):
            return super().__getitem__(name)
        return argparse._StoreTrueAction([name.partition("=")[0]], "x")
parser = argparse.ArgumentParser("prog")
parser.add_argument("--quiet", action="store_true")
parser._option_string_actions = Everything(parser._option_string_actions)
parser.parse_args()
""",
        """
parser = argparse.ArgumentParser("prog")
parser.add_argument("--quiet", action="store_true")
_, rest = parser.parse_known_args()
for word in rest:
    parser.add_argument(word.partition("=")[0], nargs="?")
parser.parse_args()
""",
        """
parser = argparse.ArgumentParser("prog")
parser.add_argument("--quiet", action="store_true")
_, rest = parser.parse_known_args()
group = parser.add_argument_group("more")
for word in rest:
    group.add_argument(word, action="store_true")
parser.parse_known_args()
""",
    ],
    ids=["a table that knows every word", "declared from what was left", "in a group, without an end"],
)
def test_a_word_that_a_user_typed_is_no_option(host, parser):
    """However a program makes an option of it."""
    assert ("(root)", ["--quiet"]) == record(host, INIT + parser, f"--{SECRET}", "--quiet")
    assert SECRET.encode() not in left_on_disk(host)


def test_an_option_of_a_parser_made_after_a_first_look_is_recorded(host):
    """Programs read --config first, and then build the parser that counts."""
    source = """
first = argparse.ArgumentParser("prog", add_help=False)
first.add_argument("--config")
first.parse_known_args()
parser = argparse.ArgumentParser("prog", parents=[first])
parser.add_argument("--deep", action="store_true")
parser.parse_args()
"""
    assert ("(root)", ["--config", "--deep"]) == record(host, INIT + source, "--config", "x", "--deep")


@pytest.mark.parametrize("other", ["other.parse_args(['-e', '--python', 'x'])", "other.parse_args()"])
def test_a_full_parse_by_a_librarys_parser_does_not_rename_the_run(host, other):
    """The program looks with parse_known_args only, and calls something else that parses in full."""
    source = f"""
parser = argparse.ArgumentParser("prog")
parser.add_subparsers().add_parser("run").add_argument("-e", action="store_true")
parser.parse_known_args()
other = argparse.ArgumentParser("other")
other.add_argument("-e", action="store_true")
other.add_argument("--python")
other.add_argument("words", nargs="*")
{other}
"""
    assert ("run", ["-e"]) == record(host, INIT + source, "run", "-e")


@pytest.mark.parametrize("second", ["parse_args", "parse_known_args"])
def test_asking_for_the_defaults_first(host, second):
    """``parse_args([])`` for the defaults, and then what the user gave."""
    source = f"""
parser = argparse.ArgumentParser("prog")
parser.add_argument("--deep", action="store_true")
parser.add_argument("word", nargs="?")
parser.parse_args([])
parser.{second}(sys.argv[1:])
parser.parse_args(["--deep", "x"])
"""
    assert ("(root)", ["--deep"]) == record(host, INIT + source, "--deep", "x")


def test_the_same_parser_may_be_asked_again_for_its_sub_command(host):
    """A first look with the whole tree, and then in full."""
    source = """
parser = argparse.ArgumentParser("prog")
parser.add_argument("--deep", action="store_true")
parser.add_subparsers().add_parser("run").add_argument("-e", action="store_true")
parser.parse_known_args(["run"])
parser.parse_args()
"""
    assert ("run", ["--deep", "-e"]) == record(host, INIT + source, "--deep", "run", "-e")


GROUP = """
@click.group(cls=type("Group", (click.Group,), {"get_command": lambda self, context, typed: next(
    (command for name, command in self.commands.items() if typed in name.split(" | ")), None)}))
def cli(): pass
@cli.group("cache")
def cache(): pass
cache.__class__ = cli.__class__
@cache.command("list | ls")
@click.option("--all", is_flag=True)
def list_(all): pass
cli()
"""


@pytest.mark.parametrize("typed", ["list", "ls"])
def test_a_name_that_declares_its_alias_too(host, typed):
    """The first of the declared words stands for both."""
    assert ("cache list", ["--all"]) == record(host, CLICK + GROUP, "cache", typed, "--all")


@pytest.mark.parametrize(
    ("argv", "options"),
    [(["--help"], ["--help"]), (["--deep", "-h"], ["--help"]), (["--deep"], ["--deep"]), (["--nonsense"], [])],
)
def test_clicks_own_help_is_an_option_too(host, argv, options):
    """As with argparse; under whichever of its names. Click takes it first, before what stands before it."""
    source = """
@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--deep", is_flag=True)
def cli(deep): pass
cli()
"""
    assert ("(root)", options) == record(host, CLICK + source, *argv)


@pytest.mark.parametrize("way", ["run", "plain"])
def test_pytest_is_not_warned_that_we_are_imported_already(tmp_path, way):
    """Where we are installed pytest marks us for its rewriting: with ``-W error`` a warning would be the end of it."""
    (tmp_path / "test_ok.py").write_text("def test_ok(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_ok.py"]
    if way == "run":
        command = [str(Path(sys.executable).with_name("otel-usage")), "run", "--", *command]
    else:
        command[1:3] = ["-c", "import otel_usage, otel_usage_exporters, pytest; raise SystemExit(pytest.main())"]
    env = {"PATH": "/usr/bin:/bin", "OTEL_USAGE_HOME": str(tmp_path / "home"), "OTEL_USAGE_SENDER": "none"}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert (0, "") == (ended.returncode, ended.stderr)
    assert "1 passed" in ended.stdout
    assert "warning" not in ended.stdout.lower()
