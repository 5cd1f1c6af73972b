"""The command and options of click programs: names that the program declares, never what was typed."""

import sys
from pathlib import Path

import pytest

from ..hosts import ROOT, Host

INIT = 'import otel_usage; otel_usage.init("prog", version="1.4", consent="opt-in")\n'
TREE = """
import click, sys

@click.group()
@click.option("--verbose", "-v", count=True)
@click.option("-q")
@click.version_option("1.4")
def cli(verbose, q):
    pass

@cli.group("report")
@click.option("--dry-run/--no-dry-run", "-n/-N")
def report(dry_run):
    pass

@report.command("upload")
@click.option("--to", "-t", envvar="PROG_TO")
@click.option("--colour", "--color", "colour")
@click.option("--level", default=3, prompt=False)
@click.argument("file", nargs=-1)
def upload(**given):
    pass

@cli.command("other")
def other():
    pass
"""
OLD = ROOT / ".venv" / "other"  # pip install --target .venv/other/old typer==0.12.5 click==8.1.8


def record(host: Host, source: str, *argv: str, first: str = INIT, **options):
    """Run *source* and return (command, options, outcome)."""
    ended = host.run(first + source, *argv, **options)
    assert b"Traceback" not in ended.err, ended.err.decode()
    run = host.the_run
    return run.command, run.options, run.attributes["usage.outcome"]


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


CHAIN = """
import click
@click.group(chain=True)
def cli(): pass
@cli.result_callback()
def done(results): pass
for name in ("one", "two", "three"):
    cli.add_command(click.Command(name, callback=lambda **k: 1, params=[click.Option(["--" + name], is_flag=True)]))
cli()
"""


@pytest.mark.parametrize(
    ("argv", "command", "options"),
    [
        ("one", "one", []),
        ("one two --two three", "one+two+three", ["--two"]),
        ("one one two", "one+two", []),
        ("two " * 50 + "one", "two+one", []),
    ],
)
def test_chained_commands(host, argv, command, options):
    """A chain is one command, named after its parts in order."""
    assert (command, options, "success") == record(host, CHAIN, *argv.split())


def test_many_chained_commands_are_bounded(host):
    """A name made of commands is not endless."""
    names = [f"n{number}" for number in range(100)]
    source = CHAIN.replace('("one", "two", "three")', repr(names))

    command = record(host, source, *names)[0]

    assert "+".join(names[:8]) == command


GROUPS = {
    # a prefix is enough
    """
class Group(click.Group):
    def get_command(self, ctx, name):
        found = [c for c in self.list_commands(ctx) if c.startswith(name)]
        return super().get_command(ctx, found[0]) if found else None
cli = Group("cli", {"upload": click.Command("upload", callback=lambda: None)})
cli()
""": ("upl", "upload"),
    # short names for commands
    """
class Group(click.Group):
    def get_command(self, ctx, name):
        return super().get_command(ctx, {"up": "upload"}.get(name, name))
    def resolve_command(self, ctx, args):
        _, command, rest = super().resolve_command(ctx, args)
        return command.name, command, rest
cli = Group("cli", {"upload": click.Command("upload", callback=lambda: None)})
cli()
""": ("up", "upload"),
    # plug-ins, known by list_commands only
    """
class Group(click.Group):
    def list_commands(self, ctx): return ["plug"]
    def get_command(self, ctx, name):
        return click.Command("something", callback=lambda: None) if name == "plug" else None
cli = Group("cli")
cli()
""": ("plug", "plug"),
    # a command made from any word
    """
class Group(click.Group):
    def get_command(self, ctx, name):
        return click.Command(name, callback=lambda: None)
cli = Group("cli")
cli()
""": ("sesame", "(unknown)"),
    # the same, and it is kept
    """
class Group(click.Group):
    def get_command(self, ctx, name):
        if name not in self.commands:
            self.add_command(click.Command(name, callback=lambda: None))
        return super().get_command(ctx, name)
cli = Group("cli")
cli()
""": ("sesame", "(unknown)"),
    # one command for all words it does not know
    """
class Group(click.Group):
    def resolve_command(self, ctx, args):
        return super().resolve_command(ctx, ["run", *args])
cli = Group("cli", {"run": click.Command("run", callback=lambda word: None, params=[click.Argument(["word"])])})
cli()
""": ("sesame", "run"),
    # loaded when asked for
    """
class Group(click.Group):
    def list_commands(self, ctx): return [*super().list_commands(ctx), "lazy"]
    def get_command(self, ctx, name):
        return click.Command("real", callback=lambda: None) if name == "lazy" else super().get_command(ctx, name)
cli = Group("cli", {"upload": click.Command("upload", callback=lambda: None)})
cli()
""": ("lazy", "lazy"),
    # added under another name
    """
cli = click.Group("cli")
cli.add_command(click.Command("real", callback=lambda: None), "shown")
cli()
""": ("shown", "shown"),
    # two groups in one
    """
one = click.Group("one", {"a": click.Command("a", callback=lambda: None)})
two = click.Group("two", {"b": click.Command("b", callback=lambda: None)})
click.CommandCollection("cli", sources=[one, two])()
""": ("b", "b"),
    # upper case as lower
    """
cli = click.Group("cli", {"upload": click.Command("upload", callback=lambda: None)},
    context_settings={"token_normalize_func": str.lower})
cli()
""": ("UPLOAD", "upload"),
    # a list that fails
    """
class Group(click.Group):
    def list_commands(self, ctx): 1 / 0
    def get_command(self, ctx, name): return click.Command("real", callback=lambda: None)
Group("cli")()
""": ("sesame", "(unknown)"),
}


@pytest.mark.parametrize("source", GROUPS, ids=lambda s: s.splitlines()[1] + "…" + str(len(s)))
def test_groups_of_the_hosts_own(host, source):
    """A word is recorded only if the program lists it; what was typed, and is no name, is ``(unknown)``."""
    typed, expected = GROUPS[source]

    assert (expected, [], "success") == record(host, "import click\n" + source, typed)


def test_list_commands_is_asked_only_where_needed(host):
    """A group that declares its commands is not asked for a list, which may be slow or have effects."""
    source = """
import click
class Group(click.Group):
    def list_commands(self, ctx):
        print("asked")
        return super().list_commands(ctx)
cli = Group("cli", {"upload": click.Command("upload", callback=lambda: None)})
cli()
"""
    ended = host.run(INIT + source, "upload")

    assert b"" == ended.out
    assert "upload" == host.the_run.command


def test_command_subclasses(host):
    """Commands and contexts of the host's own classes are seen all the same."""
    source = """
import click
class Context(click.Context):
    def invoke(self, *args, **kwargs): return super().invoke(*args, **kwargs)
class Command(click.Command):
    context_class = Context
    def parse_args(self, ctx, args): return super().parse_args(ctx, args)
    def invoke(self, ctx): return super().invoke(ctx)
    def make_context(self, *args, **kwargs): return super().make_context(*args, **kwargs)
class Group(click.Group):
    command_class = Command
    context_class = Context
    def main(self, *args, **kwargs): return super().main(*args, **kwargs)
    def invoke(self, ctx): return super().invoke(ctx)
cli = Group("cli")
@cli.command("upload")
@click.option("--to")
def upload(to): pass
cli()
"""
    assert ("upload", ["--to"], "success") == record(host, source, "upload", "--to", "x")


@pytest.mark.parametrize(
    "call",
    [
        "ctx.invoke(other)",
        "ctx.forward(other)",
        "other.main(['--what', 'x'], standalone_mode=False)",
        "cli.main(['other'], standalone_mode=False)",
        "click.Context(other).invoke(other)",
        "from click.testing import CliRunner; CliRunner().invoke(cli, ['other', '--what', 'x'])",
        "with ctx.scope(): pass",
        "with other.make_context('x', ['--what', 'x'], parent=ctx): pass",
    ],
)
def test_commands_that_call_commands(host, call):
    """What a command calls is the host's own affair: the path stays."""
    source = f"""
import click
@click.group()
def cli(): pass
@cli.command()
@click.option("--what")
def other(what=None): pass
@cli.command()
@click.pass_context
def upload(ctx):
    {call.replace("; ", chr(10) + "    ")}
cli()
"""
    command, options, outcome = record(host, source, "upload")

    assert "success" == outcome
    assert ("upload", []) == (command, options) or "parent=ctx" in call


def test_result_callbacks_leave_the_command(host):
    """A callback of the group that runs after its command does not become the command."""
    source = TREE + "cli.result_callback()(lambda *a, **k: None)\ncli()"

    assert ("report upload", [], "success") == record(host, source, "report", "upload")


def test_groups_that_run_without_command(host):
    """``invoke_without_command`` groups are a command themselves."""
    source = "import click\ncli = click.Group('cli', invoke_without_command=True, callback=lambda: None)\ncli()"

    assert ("(root)", [], "success") == record(host, source)


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


# -- other versions -----------------------------------------------------------------------------------------------


def versions() -> list[str]:
    """Return folders that hold other versions of click or typer."""
    return sorted(str(p) for p in OLD.glob("*") if (p / "click").exists()) if OLD.exists() else []


@pytest.mark.parametrize("folder", versions(), ids=lambda f: Path(f).name)
@pytest.mark.parametrize(
    ("argv", "ending", "command", "options"),
    [
        ("do ctx.exit(4)", (4, "failure"), "do", []),
        ("do pass", (0, "success"), "do", []),
        ("do raise(KeyboardInterrupt)", (1, "interrupted"), "do", []),
        ("do click.get_current_context().fail('x')", (2, "usage_error"), "do", []),
        ("do 1/0", (1, "failure"), "do", []),
        ("do sys.exit(3)", (3, "failure"), "do", []),
        ("-v report upload --format pdf", (0, "success"), "report upload", ["--format", "--verbose"]),
        ("report upload --nope", (2, "usage_error"), "report upload", []),
        ("report --help", (0, "help"), "report", ["--help"]),
        ("nope", (2, "usage_error"), "(root)", []),
    ],
)
def test_other_versions(host, folder, argv, ending, command, options):
    """The same with every version of click that is at hand."""
    ended = host.run("clicks.py", *argv.split(), env={"PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}"})
    run = host.the_run

    assert (ending, command) == (run.ending[:2], run.command), ended.err
    assert ending[0] == ended.status
    assert set(run.options) <= set(options)


@pytest.mark.parametrize("folder", [f for f in versions() if (Path(f) / "typer").exists()], ids=lambda f: Path(f).name)
def test_older_typer(host, folder):
    """Typer from before it had a click of its own."""
    env = {"PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}"}
    for argv, code in ((["report", "upload", "--format", "x"], 0), (["do", "raise typer.Exit(4)"], 4), (["nope"], 2)):
        assert code == host.run("typers.py", *argv, env=env).status

    assert [
        ("report upload", ["--format"], "success"),
        ("do", [], "failure"),
        ("(root)", [], "usage_error"),
    ] == [(run.command, run.options, run.ending[1]) for run in host.runs]


if sys.platform == "win32":
    pytest.skip("POSIX paths", allow_module_level=True)
