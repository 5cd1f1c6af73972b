"""Programs on optparse whose own classes have methods of their own in place of its."""

import pytest

HEAD = """
import optparse, sys, otel_usage
otel_usage.init("prog", version="1", consent="opt-in")
"""
PROGRAMS = {
    # As yt-dlp: a parse of its own.
    "parse": """
class Parser(optparse.OptionParser):
    def _get_args(self, args):
        return sys.argv[1:] if args is None else list(args)
parser = Parser(version="1")
""",
    # As docutils: it checks values itself.
    "check": """
class Parser(optparse.OptionParser):
    def check_values(self, values, args):
        return values, args
parser = Parser(version="1")
""",
    # As scons: options of a class of its own, and groups.
    "option": """
class Option(optparse.Option):
    def process(self, opt, value, values, parser):
        return self.take_action(self.action, self.dest, opt, value, values, parser)
class Parser(optparse.OptionParser):
    pass
parser = Parser(version="1", option_class=Option)
""",
}
REST = """
group = optparse.OptionGroup(parser, "more")
group.add_option("--to")
parser.add_option_group(group)
parser.parse_args()
sys.exit(0 if not sys.argv[1:] or "--to" in sys.argv else 3)
"""


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("argv", "options", "outcome", "code"),
    [
        ("", [], "success", 0),
        ("--to secret secret", ["--to"], "success", 0),
        ("secret", [], "failure", 3),
        ("--version", ["--version"], "help", 0),
        ("--secret", [], "usage_error", 2),
    ],
)
def test_own_classes(host, program, argv, options, outcome, code):
    """Command, options and outcome are those of any other program."""
    ended = host.run(HEAD + PROGRAMS[program] + REST, *argv.split())

    assert code == ended.status
    assert ("(root)", options) == (host.the_run.command, host.the_run.options)
    assert (code, outcome) == host.the_run.ending[:2]


@pytest.mark.parametrize("argv", ["secret", "--to x secret"])
def test_words_that_are_left_to_somebody_else(host, argv):
    """A parser that stops at the first word leaves it to a second one: until that comes, the command is not known."""
    program = (
        "parser = optparse.OptionParser()\nparser.disable_interspersed_args()\nparser.add_option('--to')\n"
        "parser.parse_args()\nsys.exit('no such command')\n"
    )
    host.run(HEAD + program, *argv.split())

    assert "(unknown)" == host.the_run.command
