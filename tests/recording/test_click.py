"""The command and options of click programs: names that the program declares, never what was typed."""

import sys

import pytest

from .click_sources import INIT, TREE, record


@pytest.mark.parametrize(
    ("argv", "command", "options"),
    [
        ("other", "other", []),
        ("-v other", "other", ["--verbose"]),
        ("-vv -q x other", "other", ["--verbose", "-q"]),
        ("report upload", "report upload", []),
        ("report -n upload", "report upload", ["--dry-run"]),
        ("report --no-dry-run upload", "report upload", ["--dry-run"]),
        ("-v report -n upload --to x file", "report upload", ["--verbose", "--dry-run", "--to"]),
        ("report upload -tx -t y", "report upload", ["--to"]),
        ("report upload --to=x --color red", "report upload", ["--to", "--colour"]),
        ("report upload -- --to", "report upload", []),
    ],
)
def test_sub_commands_and_options(host, argv, command, options):
    """The declared path, and the longest name of each option given; flags with an opposite have one name."""
    got = record(host, TREE + "cli()", *argv.split())

    assert (command, "success") == (got[0], got[2])
    assert sorted(options) == sorted(got[1])


def test_options_after_a_parameters_callback(host):
    """Click 8.5 pushes the context once more around a callback that runs before other parameters have values."""
    source = (
        "import click\n@click.command()\n@click.option('--config', is_eager=True)\n@click.version_option('1')\n"
        "@click.option('--check', is_flag=True)\ndef main(**given): pass\nmain()"
    )

    assert ("(root)", ["--check"], "success") == record(host, source, "--check")


def test_values_from_the_environment_are_not_options_given(host):
    """An option set by a variable or a default was not given."""
    assert ("report upload", [], "success") == record(host, TREE + "cli()", "report", "upload", env={"PROG_TO": "x"})


@pytest.mark.parametrize("first", ["", "import click\n", "import click.core\n", "from click.core import Context\n"])
@pytest.mark.parametrize("late", [False, True])
def test_import_order_makes_no_difference(host, first, late):
    """`init` comes before click is imported, after it, or after the commands were made."""
    source = TREE + (INIT if late else "") + "cli()"

    assert ("report upload", [], "success") == record(
        host, source, "report", "upload", first="" if late else first + INIT
    )


@pytest.mark.parametrize(
    ("call", "argv", "expected"),
    [
        ("cli(['other'])", "report upload", ("other", [], "success")),
        ("cli.main(args=['other'], prog_name='x')", "", ("other", [], "success")),
        ("cli(standalone_mode=False)", "report upload --to x", ("report upload", ["--to"], "success")),
        ("cli(standalone_mode=False); sys.exit(5)", "other", ("other", [], "failure")),
        ("upload()", "--to x", ("(root)", ["--to"], "success")),
        ("cli(obj={}, auto_envvar_prefix='PROG')", "other", ("other", [], "success")),
        (
            "try:\n cli(standalone_mode=False)\nexcept click.UsageError:\n sys.exit(64)",
            "nope",
            ("(root)", [], "usage_error"),
        ),
        ("try:\n cli()\nexcept SystemExit as e:\n sys.exit(e.code)", "nope", ("(root)", [], "usage_error")),
        ("cli()", "report upload --nope", ("report upload", [], "usage_error")),
        ("cli()", "report --help", ("report", ["--help"], "help")),
        ("cli()", "report upload --help", ("report upload", ["--help"], "help")),
        ("try:\n cli()\nexcept SystemExit:\n pass\ncli(['other'])", "report upload", ("report upload", [], "success")),
        (
            "with cli.make_context('prog', sys.argv[1:]) as c: cli.invoke(c)",
            "report upload",
            ("report upload", [], "success"),
        ),
    ],
)
def test_ways_of_calling(host, call, argv, expected):
    """However a program calls its commands; the first, outermost invocation counts."""
    command, options, outcome = record(host, TREE + call, *argv.split())

    assert (expected[0], expected[2]) == (command, outcome)
    assert set(options) <= set(expected[1])


def test_prompts_and_callbacks(host):
    """An option answered at a prompt was not given on the command line."""
    source = """
import click
@click.command()
@click.option("--name", prompt=True)
@click.option("--eager", is_eager=True, is_flag=True, callback=lambda ctx, param, value: value and ctx.exit())
def cli(name, eager): pass
cli()
"""
    ended = host.start(INIT + source, stdin=-1)
    ended.communicate(b"somebody\n", timeout=30)

    assert ("(root)", []) == (host.the_run.command, host.the_run.options)


def test_an_eager_option_that_exits_is_like_help(host):
    """Options that print something and exit are no use of the program, like ``--version``."""
    source = """
import click
@click.command()
@click.option("--licence", is_eager=True, is_flag=True, callback=lambda ctx, param, value: value and ctx.exit())
def cli(licence): pass
cli()
"""
    assert ("(root)", ["--licence"], "help") in [record(host, source, "--licence")] or "help" == host.the_run.ending[1]


@pytest.mark.parametrize("threads", [1, 4])
def test_commands_in_threads(host, threads):
    """An invocation in another thread is no second run, and does no harm."""
    source = (
        TREE
        + f"""
import threading
def work():
    cli(["other"], standalone_mode=False)
cli(["report", "upload"], standalone_mode=False)
for thread in [threading.Thread(target=work) for _ in range({threads})]:
    thread.start(); thread.join()
"""
    )
    assert ("report upload", [], "success") == record(host, source)


def test_click_and_argparse_in_one_program(host):
    """A click program that parses something with argparse keeps its own command. The first to be called counts."""
    source = (
        TREE.replace(
            "def upload(**given):\n    pass",
            (
                "def upload(**given):\n"
                "    import argparse\n"
                "    p = argparse.ArgumentParser('inner'); p.add_argument('--inner'); p.parse_args(['--inner', 'x'])\n"
            ),
        )
        + "cli()"
    )

    assert ("report upload", [], "success") == record(host, source, "report", "upload")


@pytest.mark.parametrize("order", ["first", "last"])
def test_tests_of_the_host_are_left_alone(host, order):
    """A host's own tests, run by pytest with CliRunner, behave as ever and record nothing."""
    (host.tmp / "work" / "tool.py").write_text(
        (TREE if order == "last" else "") + INIT + (TREE if order == "first" else "")
    )
    (host.tmp / "work" / "test_tool.py").write_text("""
import pytest
from click.testing import CliRunner
from tool import cli
@pytest.mark.parametrize("n", range(3))
def test_tool(n):
    result = CliRunner().invoke(cli, ["report", "upload", "--to", "x"])
    assert 0 == result.exit_code
    assert 2 == CliRunner().invoke(cli, ["nope"]).exit_code
    with pytest.raises(SystemExit) as caught:
        cli(["--nope"])
    assert 2 == caught.value.code
""")
    env = {"PROG_TELEMETRY": None}
    ended = host.run("-m", "pytest", "-q", "-p", "no:cacheprovider", env=env, cwd=host.tmp / "work")

    assert 0 == ended.status, ended.out.decode()
    assert not host.spool.exists()


def test_a_dead_context_leaves_nothing_alive(host):
    """We keep no context alive: what click closes is closed when it would have been."""
    source = """
import click, gc, weakref
gc.disable()
kept = []
@click.command()
@click.pass_context
def cli(ctx): kept.append(weakref.ref(ctx))
try:
    cli()
except SystemExit:
    pass
print(kept[0]() is None)
"""
    assert b"True\n" == host.run(INIT + source).out


if sys.platform == "win32":
    pytest.skip("POSIX paths", allow_module_level=True)
