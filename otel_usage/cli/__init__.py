"""The ``otel-usage`` command: one module per sub-command, besides the verbs of `otel_usage.control.commands`.

Each such module has ``add``, which adds the sub-command's parser, and ``call``, which runs it and returns the exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

# {command of an outer ring: its module}
SERVERS = {
    "relay": "otel_usage.server.serve",
    "serve": "otel_usage.serve.command",
    "ask": "otel_usage.serve.questions.command",
    "publish": "otel_usage.serve.publish.command",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser. Each sub-command sets ``call``, the function that runs it."""
    import argparse

    from ..control import commands
    from . import demo, describe, doctor, ids, listen, run, verify

    top = argparse.ArgumentParser(
        prog="otel-usage",
        description="Usage analytics for command-line programs, at no cost to the people who use them.",
    )
    top.add_argument("--version", action="version", version=f"otel-usage {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (commands, ids, demo, run, listen, describe, verify, doctor):
        module.add(subparsers)
    subparsers.add_parser(
        "relay", add_help=False, help="receive OTLP for GA4 and Segment, and keep their keys (extra: relay)"
    )
    subparsers.add_parser(
        "serve", add_help=False, help="receive OTLP, keep it, show it in a browser, pass it on (extra: server)"
    )
    subparsers.add_parser(
        "ask", add_help=False, help="answer a question about usage, from serve or its store (extra: server)"
    )
    subparsers.add_parser(
        "publish",
        add_help=False,
        help="write numbers for everybody as static files, from a store of serve (extra: server)",
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted."""
    from ..setting_error import SettingError

    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] and words[0] in SERVERS:
        return _run_server(words[0], words[1:])
    try:
        if words[:1] == ["run"]:  # without argparse: the program that it starts shall not wait for us
            from .run import read_command_line, run_program

            command_line = read_command_line(words[1:])
            if command_line is not None:
                return run_program(*command_line)
        return _run_command(words)
    except SettingError as exc:
        from ..consent.notice import say

        say(f"otel-usage: {exc}\n")
        return 2
    except BrokenPipeError:
        from ..control.terminal import give_up

        give_up(sys.stdout)
        return 1
    except OSError as exc:
        from ..consent.notice import say
        from ..spool.removal import explain_os_error

        where = f"{exc.filename!r} can't be used" if exc.filename else "it can't be done"
        say(f"otel-usage: {where} ({explain_os_error(exc)})\n")
        return 1
    except KeyboardInterrupt:  # end as a program without a handler does, and without showing where we were
        import os
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130


def _run_command(words: Sequence[str]) -> int:
    from ..control.terminal import prepare_streams

    prepare_streams()
    args = build_parser().parse_args(words)
    exit_code: int = args.call(args)
    sys.stdout.flush()
    return exit_code


def _run_server(command: str, words: Sequence[str]) -> int:
    """Run a command of `SERVERS`, which have parsers of their own.

    They are found by name and not imported: they belong to an outer ring, and need an extra, ``relay`` or ``server``.
    """
    import importlib

    exit_code: int = importlib.import_module(SERVERS[command]).main(words)
    return exit_code
