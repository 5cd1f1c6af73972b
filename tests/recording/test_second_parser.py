"""Programs whose first parser takes the command's name, and whose second takes the rest: the command is the second's."""

import pytest

HEAD = 'import argparse, optparse, sys, otel_usage\notel_usage.init("prog", version="1", consent="opt-in")\n'

PROGRAMS = {
    # As twine: the words are declared as choices, the rest is left to the command's own parser.
    "choices": """
first = argparse.ArgumentParser("prog")
first.add_argument("command", choices=["upload", "check"])
first.add_argument("rest", nargs=argparse.REMAINDER)
given = first.parse_args()
second = argparse.ArgumentParser(f"prog {given.command}")
second.add_argument("--to")
second.add_argument("file", nargs="?")
second.parse_args(given.rest)
""",
    # As aws: each parser takes what it knows.
    "three": """
def parse(words, choices, *options):
    parser = argparse.ArgumentParser("prog")
    if choices:
        parser.add_argument("word", choices=choices)
    for option in options:
        parser.add_argument(option)
    return parser.parse_known_args(words)
given, rest = parse(sys.argv[1:], ["bucket", "queue"], "--region")
given, rest = parse(rest, ["list", "delete"])
given, rest = parse(rest, (), "--filter")
""",
    "whatever is left": """
first = argparse.ArgumentParser("prog")
first.add_argument("--quiet", action="store_true")
first.add_argument("rest", nargs=argparse.REMAINDER)
rest = first.parse_args().rest
second = argparse.ArgumentParser(rest[0])
second.add_argument("--to")
second.parse_args(rest[1:])
""",
    "a first look": """
first = argparse.ArgumentParser("prog", add_help=False)
first.add_argument("--config")
first.add_argument("file", nargs="*")
first.parse_known_args()
second = argparse.ArgumentParser("prog", parents=[first])
second.add_argument("--to")
second.parse_args()
""",
    "a library's": """
first = argparse.ArgumentParser("prog")
first.add_argument("--to")
first.add_argument("file", nargs="?")
first.parse_args()
argparse.ArgumentParser("library").parse_args([])
""",
    # As pip: the command's class says what the program is called, its module has that name.
    "optparse": """
import types
first = optparse.OptionParser(prog="prog")
first.disable_interspersed_args()
_, rest = first.parse_args()
class Parser(optparse.OptionParser): __module__ = "shop.parser"
sys.modules["shop.commands.sell"] = types.ModuleType("shop.commands.sell")
second = Parser(prog="prog " + rest[0])
second.add_option("--to")
second.parse_args(rest[1:])
""",
    # As docopt's own copy of git.
    "docopt": """
import docopt
first = docopt.docopt("Usage: prog [--loud] <command> [<args>...]", options_first=True)
usages = {
    "upload": "Usage: prog upload [--to=<place>] [<file>...]",
    "remote": "Usage: prog remote <command> [<args>...]",
    "secret": "Usage: prog-secret [--to=<place>] <word> [<file>...]",
}
words = [first["<command>"], *first["<args>"]]
second = docopt.docopt(usages[words[0]], words, options_first=words[0] == "remote")
if words[0] == "remote":
    docopt.docopt("Usage: prog remote add [--to=<place>] <name>", ["remote", second["<command>"], *second["<args>"]])
""",
    "docopt, once": """
import docopt
docopt.docopt("Usage: prog [--loud] <file> [<args>...]", options_first=True)
docopt.docopt("Usage: library [mine] [<file>]", [] if len(sys.argv) > 2 else ["mine"])
""",
}


@pytest.mark.parametrize(
    ("program", "argv", "command", "options"),
    [
        ("choices", "upload --to secret secret", "upload", ["--to"]),
        ("choices", "check", "check", []),
        ("three", "--region secret bucket list --filter secret", "bucket list", ["--region", "--filter"]),
        ("three", "queue delete secret", "queue delete", []),
        ("whatever is left", "--quiet secret --to secret", "(unknown)", ["--quiet", "--to"]),
        ("a first look", "secret --config secret --to x", "(root)", ["--config", "--to"]),
        ("a library's", "secret --to x", "(root)", ["--to"]),
        ("optparse", "sell --to secret", "sell", ["--to"]),
        ("optparse", "secret --to secret", "(unknown)", ["--to"]),
        ("docopt", "--loud upload --to=secret secret", "upload", ["--loud", "--to"]),
        ("docopt", "remote add --to=secret secret", "remote add", ["--to"]),
        ("docopt", "secret --to=secret", "(unknown)", ["--to"]),
        ("docopt, once", "--loud secret --secret", "(root)", ["--loud"]),
        ("docopt, once", "secret", "(root)", []),
    ],
)
def test_the_command_is_the_second_parsers(host, program, argv, command, options):
    """Where the program declares its name; else it is unknown, and never the root."""
    ended = host.run(HEAD + PROGRAMS[program], *argv.split())

    assert (0, b"") == (ended.status, ended.err)
    assert (command, options) == (host.the_run.command, host.the_run.options)
    assert not any(b"secret" in file.read_bytes() for file in host.home.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "call",
    [
        "optparse.OptionParser.parse_args(parser)",
        "before(parser)",
        "type('Own', (optparse.OptionParser,), {'parse_args': lambda self: before(self)})(option_list=options).parse_args()",
    ],
)
def test_however_optparse_is_called(host, call):
    """By the class, or by a function that somebody else has taken from it, or put there."""
    program = """
before = optparse.OptionParser.parse_args
options = [optparse.make_option("--to")]
parser = optparse.OptionParser(option_list=options)
"""
    host.run(HEAD + program + call, "--to", "secret")

    assert ("(root)", ["--to"]) == (host.the_run.command, host.the_run.options)


@pytest.mark.parametrize("program", ["choices", "docopt"])
def test_what_the_second_parser_refuses(host, program):
    """A usage error of that command."""
    host.run(HEAD + PROGRAMS[program], "upload", "--secret")

    assert ("upload", "usage_error") == (host.the_run.command, host.the_run.ending[1])


@pytest.mark.parametrize(("where", "command"), [("user", "(unknown)"), ("lib/site-packages", "export")])
def test_commands_of_a_django_project(host, where, command):
    """Those that a user's own apps declare are his; those of an installed package are known to many."""
    pytest.importorskip("django.core")
    folder = host.tmp / where / "shop" / "management" / "commands"
    folder.mkdir(parents=True)
    (folder / "export.py").write_text(
        "from django.core.management.base import BaseCommand\n"
        "class Command(BaseCommand):\n    def handle(self, **options): pass\n"
    )
    ended = host.run(
        f"""
import sys; sys.path.insert(0, {str(host.tmp / where)!r})
import otel_usage
otel_usage.init("prog", version="1", consent="opt-in")
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(INSTALLED_APPS=["shop"])
execute_from_command_line()
""",
        "export",
        "--no-color",
    )

    assert 0 == ended.status, ended.err
    assert (command, ["--no-color"]) == (host.the_run.command, host.the_run.options)
