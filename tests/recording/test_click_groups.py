"""Click groups of many kinds: lazy and nested ones, those of the host's own classes, commands that call commands."""

import sys

import pytest

from .click_sources import INIT, TREE, record

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


if sys.platform == "win32":
    pytest.skip("POSIX paths", allow_module_level=True)
