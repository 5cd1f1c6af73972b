"""What a program has made is its own again at the end: nothing of ours keeps it alive, as the interpreter takes it down."""

import pytest

CLICK = """
import click
@click.group()
def cli():
    pass
@cli.command()
def sub():
    pass
program, inner = [cli], weakref.ref(sub)
del cli, sub
"""
CALL = {
    "click": CLICK + "program[0](['sub'], standalone_mode=False)\n",
    "click that ends the program": CLICK + "program[0](['sub'])\n",
    "argparse": """
import argparse
class Parser(argparse.ArgumentParser):
    pass
program = [Parser()]
inner = weakref.ref(program[0].add_subparsers().add_parser("sub"))
program[0].parse_args(["sub"])
""",
}


@pytest.mark.parametrize("framework", CALL)
def test_nothing_of_the_program_is_kept_alive(host, framework):
    """A command or parser that the program drops is gone after our exit handler, though the framework lives on.

    An exception hook of the framework's (typer has one) is reached until the very end, and would hold all the rest.
    """
    source = (
        "import atexit, gc, os, weakref, otel_usage\n"
        "def after_ours():\n"
        "    program.clear()\n"
        "    gc.collect()\n"
        "    os.write(2, b'kept' if inner() else b'gone')\n"
        "atexit.register(after_ours)\n"
        "otel_usage.init('prog', version='1', consent='opt-in')\n" + CALL[framework]
    )

    ended = host.run(source, env={"PROG_TELEMETRY": "on"})

    assert b"gone" == ended.err, ended.err.decode()
    assert "sub" == host.the_run.attributes["usage.command"]
