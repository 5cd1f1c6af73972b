"""The command and options of argparse programs: names that the program declares, never what was typed."""

import sys

import pytest

from ..hosts import INTERPRETERS, Host, version_of

INIT = 'import otel_usage; otel_usage.init("prog", version="1.4", consent="opt-in")\n'
TREE = """
import argparse, sys
parser = argparse.ArgumentParser("prog")
parser.add_argument("--verbose", "-v", action="count")
parser.add_argument("-q")
commands = parser.add_subparsers(dest="command")
report = commands.add_parser("report", aliases=["r", "rep"])
report.add_argument("--dry-run", "-n", action="store_true")
what = report.add_subparsers()
upload = what.add_parser("upload", aliases=["u"])
upload.add_argument("--to", "-t")
upload.add_argument("--no-colour", "--no-color", dest="colour", action="store_false")
upload.add_argument("-o", "--output-file", "--out")
upload.add_argument("file", nargs="*")
other = commands.add_parser("other")
"""


def record(host: Host, source: str, *argv: str, first: str = INIT, **options):
    """Run *source* and return (command, options, outcome)."""
    host.run(first + source, *argv, **options)
    run = host.the_run
    return run.command, run.options, run.attributes["usage.outcome"]


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize(
    ("argv", "command", "options"),
    [
        ("", "(root)", []),
        ("-v", "(root)", ["--verbose"]),
        ("-vv -q x", "(root)", ["--verbose", "-q"]),
        ("report", "report", []),
        ("r -n", "report", ["--dry-run"]),
        ("rep upload", "report upload", []),
        ("-v r -n u --to x file", "report upload", ["--verbose", "--dry-run", "--to"]),
        ("r u -tx -t y", "report upload", ["--to"]),
        ("r u --to=x --no-color", "report upload", ["--to", "--no-colour"]),
        ("r u --outp x", "report upload", ["--output-file"]),
        ("r u -- --to", "report upload", []),
        ("other", "other", []),
    ],
)
def test_sub_commands_and_options(host, python, argv, command, options):
    """The declared path for any alias; the first long name of each option given, however abbreviated."""
    source = TREE + "parser.parse_args()"

    assert (command, options, "success") == record(host, source, *argv.split(), python=python)


@pytest.mark.parametrize("first", [INIT, "import argparse\n" + INIT])
@pytest.mark.parametrize("late", [False, True])
def test_import_order_makes_no_difference(host, first, late):
    """`init` comes before argparse is imported, after it, or after the parser was made."""
    source = TREE + (INIT if late else "") + "parser.parse_args()"

    assert ("report upload", [], "success") == record(host, source, "r", "u", first="" if late else first)


@pytest.mark.parametrize(
    ("parse", "argv", "expected"),
    [
        ("parser.parse_known_args()", "r u --to x --what", ("report upload", ["--to"], "success")),
        ("parser.parse_args(sys.argv[1:])", "r", ("report", [], "success")),
        ("parser.parse_args(args=['r', 'u'])", "other", ("report upload", [], "success")),
        ("parser.parse_args(namespace=argparse.Namespace())", "r", ("report", [], "success")),
        ("try:\n parser.parse_args()\nexcept SystemExit:\n pass", "r --nonsense", ("report", [], "success")),
        ("parser.parse_args()", "r --nonsense", ("report", [], "usage_error")),
        ("parser.parse_args()", "r u --to", ("report upload", ["--to"], "usage_error")),
        ("parser.parse_args()", "r u --help", ("report upload", ["--help"], "help")),
    ],
)
def test_ways_of_parsing(host, parse, argv, expected):
    """However a program asks its parser."""
    command, options, outcome = record(host, TREE + parse, *argv.split())

    assert (expected[0], expected[2]) == (command, outcome)
    assert set(options) <= set(expected[1])


def test_exit_on_error_false(host):
    """A parse error that comes as an exception, and is the program's end."""
    source = """
import argparse
parser = argparse.ArgumentParser("prog", exit_on_error=False)
parser.add_argument("--number", type=int)
parser.parse_args()
"""
    assert ("(root)", ["--number"], "usage_error") == record(host, source, "--number", "x")
    assert (1, "usage_error", "argparse.ArgumentError") == host.the_run.ending


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        ("sys.exit(64)", (64, "usage_error", "SystemExit")),
        ("self.exit(3, message)", (3, "usage_error", "SystemExit")),
        ("raise SystemExit(5)", (None, "unknown", None)),
        ("raise ValueError(message)", (1, "failure", "ValueError")),
        ("self.print_help(); sys.exit(0)", (0, "success", None)),
    ],
)
def test_error_methods_of_the_hosts_own(host, error, ending):
    """A parser subclass that ends its own way on a usage error."""
    source = f"""
import argparse, sys
class Parser(argparse.ArgumentParser):
    def error(self, message):
        {error}
parser = Parser("prog")
commands = parser.add_subparsers()
commands.add_parser("report")
parser.parse_args()
"""
    record(host, source, "report", "--nonsense")

    assert "report" == host.the_run.command
    if ending[0] != 0:
        assert ending == host.the_run.ending
    else:
        assert 0 == host.the_run.ending[0]


PRE = """
first = argparse.ArgumentParser("prog", add_help=False)
first.add_argument("--config", "-c")
given, rest = first.parse_known_args()
"""


@pytest.mark.parametrize(
    ("source", "argv", "expected"),
    [
        # a look at some options first, a full parse of the rest
        (TREE + PRE + "parser.parse_args(rest)", "-c x r u --to y", ("report upload", ["--config", "--to"])),
        # only the look
        (TREE + PRE, "-c x r u --to y", ("(root)", ["--config"])),
        # the same parser twice
        (TREE + "parser.parse_known_args()\nparser.parse_args()", "r u", ("report upload", [])),
        (TREE + "parser.parse_args()\nparser.parse_args(['-v', 'other'])", "r u", ("report upload", [])),
        (TREE + "parser.parse_args()\nparser.parse_known_args(['-v', 'other'])", "r u", ("report upload", [])),
        # a parser used for something else afterwards
        (TREE + "parser.parse_args()\nargparse.ArgumentParser().parse_args([])", "r u", ("report upload", [])),
        (TREE + "parser.parse_args()\n" + PRE, "r u", ("report upload", [])),
        # a parser used by an action, in the middle
        (
            """
import argparse
class Load(argparse.Action):
    def __call__(self, parser, namespace, value, option=None):
        inner = argparse.ArgumentParser("inner")
        inner.add_argument("--secret")
        inner.parse_args(["--secret", value])
parser = argparse.ArgumentParser("prog")
parser.add_argument("--load", action=Load)
parser.add_subparsers().add_parser("report")
parser.parse_args()
""",
            "--load x report",
            ("report", ["--load"]),
        ),
        # parents share actions
        (
            """
import argparse
base = argparse.ArgumentParser(add_help=False)
base.add_argument("--config")
parser = argparse.ArgumentParser("prog", parents=[base])
parser.add_subparsers().add_parser("report", parents=[base])
parser.parse_args()
""",
            "report --config x",
            ("report", ["--config"]),
        ),
    ],
)
def test_several_parses(host, source, argv, expected):
    """The first full parse counts, and what was looked at before it."""
    assert (*expected, "success") == record(host, source, *argv.split())


@pytest.mark.parametrize("method", ["parse_intermixed_args", "parse_known_intermixed_args"])
def test_intermixed_arguments(host, method):
    """argparse parses twice for intermixed arguments: that is one run."""
    source = f"""
import argparse
parser = argparse.ArgumentParser("prog")
parser.add_argument("--to")
parser.add_argument("--also")
parser.add_argument("files", nargs="*")
print(parser.{method}())
"""
    assert ("(root)", ["--to", "--also"], "success") == record(host, source, "a", "--to", "x", "b", "--also", "y")


def test_a_usage_error_of_an_intermixed_parse_is_one(host):
    """A usage error of an intermixed parse is one."""
    source = "import argparse\nparser = argparse.ArgumentParser()\nparser.parse_intermixed_args()\n"

    assert "usage_error" == record(host, source, "--nonsense")[2]


def test_subclasses_that_override_parsing(host):
    """Parser classes of the host's own are seen all the same."""
    source = """
import argparse
class Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):
        return super().parse_known_args(args, namespace)
    def parse_args(self, *args, **kwargs):
        return super().parse_args(*args, **kwargs)
    def _get_nargs_pattern(self, action):
        return super()._get_nargs_pattern(action)
parser = Parser("prog")
parser.add_argument("--verbose", action="store_true")
parser.add_subparsers().add_parser("report").add_argument("--to")
parser.parse_args()
"""
    assert ("report", ["--verbose", "--to"], "success") == record(host, source, "--verbose", "report", "--to", "x")


def test_options_may_begin_with_other_characters(host):
    """Options may begin with something else than a dash."""
    source = 'import argparse\np = argparse.ArgumentParser(prefix_chars="+/")\n'
    source += 'p.add_argument("+x", "++long")\np.parse_args()\n'

    assert ("(root)", ["+x"], "success") == record(host, source, "++long", "1")


def test_a_dispatching_program(host):
    """``set_defaults(func=…)`` programs run their command after parsing; its exit is theirs."""
    source = TREE + "upload.set_defaults(func=lambda a: 4)\na = parser.parse_args()\nsys.exit(a.func(a))"

    assert ("report upload", [], "failure") == record(host, source, "r", "u")
    assert 4 == host.the_run.ending[0]


def test_defaults_are_not_given_options(host):
    """An option that nobody gave is not recorded, whatever its default."""
    source = 'import argparse\np = argparse.ArgumentParser()\np.add_argument("--to", default="x")\np.parse_args()\n'

    assert ("(root)", [], "success") == record(host, source)


def test_arguments_from_files(host):
    """Options read from a file of arguments are options of the run."""
    (host.tmp / "work" / "args").write_text("--to\nx\n")
    source = (
        'import argparse\np = argparse.ArgumentParser(fromfile_prefix_chars="@")\n'
        'p.add_argument("--to")\np.parse_args()\n'
    )
    assert ("(root)", ["--to"], "success") == record(host, source, "@args")


def test_importing_argparse_is_not_using_it(host):
    """A program that never parses has no known command."""
    assert ("(unknown)", [], "success") == record(host, TREE, "r", "u")


def test_a_library_that_parses_first(host):
    """A parse of other arguments, finished before the program's own, does not hide it. Known limit: it does."""
    source = TREE + "argparse.ArgumentParser('lib').parse_args([])\nparser.parse_args()"
    command, _, outcome = record(host, source, "r", "u")

    assert command in ("report upload", "(root)")
    assert "success" == outcome


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an old argparse takes them for positional")
def test_nested_groups_and_exclusive_options(host):
    """Options in groups, and those that exclude each other, are options like any other."""
    source = """
import argparse
p = argparse.ArgumentParser()
g = p.add_argument_group("g")
x = g.add_mutually_exclusive_group()
x.add_argument("--one", action="store_true")
x.add_argument("--two", action=argparse.BooleanOptionalAction)
p.parse_args()
"""
    assert ("(root)", ["--two"], "success") == record(host, source, "--no-two")
